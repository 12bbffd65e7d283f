"""The configuration of a run: one frozen tree from recipe, YAML and command line."""
