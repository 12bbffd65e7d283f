"""The training loop: what runs between opening the data and finishing the run."""
