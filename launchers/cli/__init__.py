"""The homerec command, one file per subcommand."""
