"""Process groups, and coordination of ranks."""
