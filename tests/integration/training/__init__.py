"""Tests of integration/training/."""
