"""A local store of features, so that requests carry ids alone."""
