"""Tests, one module for each of the project's."""
