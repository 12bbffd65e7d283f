"""The homerec command, TorchX components, and processes on this machine."""
