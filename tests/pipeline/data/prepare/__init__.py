"""Tests of pipeline/data/prepare/."""
