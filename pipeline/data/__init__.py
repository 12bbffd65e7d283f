"""Prepares raw logs as Parquet, and reads Parquet as batches."""
