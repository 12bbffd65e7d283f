"""Many runs: studies over towers and seeds, hyperparameter searches."""
