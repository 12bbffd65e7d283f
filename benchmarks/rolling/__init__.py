"""LightGBM at the origins of a rolling study."""
