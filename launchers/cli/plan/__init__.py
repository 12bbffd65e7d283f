"""homerec plan."""
