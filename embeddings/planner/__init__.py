"""Sharding plans: topology, search, tables to read."""
