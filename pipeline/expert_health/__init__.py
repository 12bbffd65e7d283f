"""Statistics of experts and gates, and their diagnosis."""
