"""A log that grows, read window by window."""
