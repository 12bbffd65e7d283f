"""`homerec compare`."""
