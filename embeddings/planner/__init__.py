"""Finds sharding plans for a model on a cluster."""
