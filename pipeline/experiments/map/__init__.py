"""Where HoME pays: towers trained on simulated tasks with known probabilities."""
