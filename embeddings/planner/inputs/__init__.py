"""Inputs of a plan: cluster, tables, rules, costs."""
