"""A sharding plan for a model on a cluster: what it costs, which is best, why none fits."""
