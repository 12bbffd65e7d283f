"""Tests of models/layers/."""
