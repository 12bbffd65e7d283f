"""Builds, shards and steps a model."""
