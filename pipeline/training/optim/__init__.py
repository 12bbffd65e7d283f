"""The optimizer of dense parameters: updates, shards, learning rates."""
