"""Sharding plans: sources of models, measurement and calibration."""
