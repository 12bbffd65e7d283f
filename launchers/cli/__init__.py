"""The homerec command, one file a subcommand."""
