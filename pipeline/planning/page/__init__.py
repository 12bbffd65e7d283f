"""A sharding plan as one HTML page."""
