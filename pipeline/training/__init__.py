"""Build, shard and step a model."""
