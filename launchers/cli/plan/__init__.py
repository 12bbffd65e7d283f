"""`homerec plan`."""
