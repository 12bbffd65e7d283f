"""`homerec map`."""
