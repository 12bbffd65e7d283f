"""TorchX components and schedulers."""
