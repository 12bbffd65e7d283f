"""Tests of launchers/elastic/."""
