"""`homerec check`: checks a table of your own."""
