"""Prepares raw logs as Parquet with a schema."""
