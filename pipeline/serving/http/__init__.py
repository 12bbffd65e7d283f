"""HTTP: requests, answers, keys, limits, metrics."""
