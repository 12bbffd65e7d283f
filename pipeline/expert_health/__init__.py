"""Statistics of experts and gates, and what they mean."""
