"""Tests of launchers/torchx/."""
