"""Tables whose rows go to ids as they come, without a vocabulary."""
