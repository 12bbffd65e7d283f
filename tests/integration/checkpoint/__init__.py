"""Tests of integration/checkpoint/."""
