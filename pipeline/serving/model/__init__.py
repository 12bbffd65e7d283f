"""The model that serves, its formula, and how they change while it serves."""
