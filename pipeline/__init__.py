"""A run: configuration, data, training, evaluation, reports."""
