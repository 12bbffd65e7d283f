"""What a run logs: metrics.jsonl, TensorBoard, progress."""
