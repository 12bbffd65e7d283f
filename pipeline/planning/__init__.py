"""Sharding plans: what to plan for, measured and calibrated."""
