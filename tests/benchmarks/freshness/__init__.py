"""Tests of benchmarks/freshness/."""
