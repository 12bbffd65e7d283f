"""Index tensors that do not change, one for each device."""

import torch
from torch import Tensor

_KNOWN: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}


def indices(values: tuple[int, ...], device: torch.device) -> Tensor:
    """Return `values` as a tensor that is copied to `device` once: a copy to a GPU waits for it.

    A buffer would lose its values when a module moves from meta to a device.
    """
    if device.type == "meta" or torch.compiler.is_compiling():
        return torch.tensor(values, device=device)
    key = (values, device)
    if key not in _KNOWN:
        with torch.inference_mode(False):  # backward may save it
            _KNOWN[key] = torch.tensor(values, device=device)
    return _KNOWN[key]
