"""Logging of a run: metrics.jsonl, TensorBoard, progress."""
