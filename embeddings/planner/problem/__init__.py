"""A request as a problem for the search: every option of every table, with its cost."""
