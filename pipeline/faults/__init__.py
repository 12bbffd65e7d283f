"""Bad steps, stop signals, stragglers."""
