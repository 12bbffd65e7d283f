"""When no plan fits: what is missing where, and which changes end that."""
