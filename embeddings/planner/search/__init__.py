"""The search for a plan: bounds, a first packing, improvement."""
