"""Benchmarks of sparse towers."""
