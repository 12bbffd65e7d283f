"""Questions about a plan: why a table lies where it does, what other inputs would give."""
