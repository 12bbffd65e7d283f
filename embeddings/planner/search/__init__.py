"""The search for a plan: lower bound, initial packing, improvement."""
