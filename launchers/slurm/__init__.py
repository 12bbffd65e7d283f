"""A Slurm scheduler for TorchX."""
