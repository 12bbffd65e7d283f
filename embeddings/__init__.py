"""The sparse half: features, tables, sharding. Imports nothing of ours."""
