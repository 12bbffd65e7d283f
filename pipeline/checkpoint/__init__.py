"""Save, verify, load and retain checkpoints."""
