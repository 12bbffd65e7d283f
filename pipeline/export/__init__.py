"""Exports a checkpoint as a model folder."""
