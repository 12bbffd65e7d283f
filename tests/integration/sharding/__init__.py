"""Tests of integration/sharding/."""
