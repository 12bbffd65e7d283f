"""Names of columns of files without a header, as UCI documents them."""

_ADULT = """
age workclass fnlwgt education education_num marital_status occupation relationship race sex
capital_gain capital_loss hours_per_week native_country income
"""
_CENSUS = """
age class_of_worker industry_code occupation_code education wage_per_hour enrolled_in_school
marital_status major_industry major_occupation race hispanic_origin sex union_member
reason_unemployed employment_status capital_gains capital_losses dividends tax_filer
previous_region previous_state household_status household_summary instance_weight migration_msa
migration_region migration_within_region same_house previous_sunbelt num_persons_worked_for
family_members_under_18 father_birth mother_birth own_birth citizenship own_business
veterans_questionnaire veterans_benefits weeks_worked year income
"""
ADULT, CENSUS = _ADULT.split(), _CENSUS.split()
