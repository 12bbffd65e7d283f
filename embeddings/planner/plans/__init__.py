"""Plans: solutions, fixed plans, plan files, and resharding."""
