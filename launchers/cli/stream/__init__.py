"""Commands of endless data."""
