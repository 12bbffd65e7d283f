"""Scores rows with an exported model, without TorchRec or a checkpoint."""
