"""Checks a whole table before it is trained on: bad values, labels, drift, duplicates."""
