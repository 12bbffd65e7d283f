"""Processes and machines: the homerec command and its TorchX components."""
