"""Raw logs to Parquet with a schema."""
