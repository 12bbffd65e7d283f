"""The page of the sharding planner: plans, options of their tables, two plans compared, sweeps."""
