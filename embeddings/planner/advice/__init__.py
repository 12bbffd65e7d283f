"""What would change a plan, and what is missing where none fits."""
