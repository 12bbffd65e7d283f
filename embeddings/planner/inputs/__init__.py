"""What a plan depends on: cluster, tables, rules, costs."""
