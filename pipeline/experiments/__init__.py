"""Studies over towers and seeds, and hyperparameter searches."""
