"""Jobs that survive the loss of a machine."""
