"""Tests of models/towers/."""
