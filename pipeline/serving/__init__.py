"""Serves a model folder over HTTP."""
