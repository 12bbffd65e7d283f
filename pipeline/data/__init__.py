"""Raw logs to Parquet, Parquet to batches."""
