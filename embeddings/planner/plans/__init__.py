"""Plans: found, given, stored in a file."""
