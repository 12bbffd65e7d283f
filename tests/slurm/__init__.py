"""Jobs on a real Slurm, brought up on this host: `make test-slurm`."""
