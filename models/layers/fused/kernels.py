"""Calls the compiled functions of kernels.cpp.

Without a compiler, or with HOMEREC_KERNELS=0 in the environment, models/layers/fused/chunked.py
does the same with torch operations.
"""

import ctypes
import functools
import os
import shlex
import subprocess
from typing import Self

import torch
from torch import Tensor

from models.layers.fused.library import library

_Int, _Pointer = ctypes.c_int64, ctypes.c_void_p


class _View(ctypes.Structure):
    _fields_ = (("data", _Pointer), ("over_e", _Int), ("over_b", _Int))


class _Sizes(ctypes.Structure):
    """Of feature gates: masks, experts, rows, features, rank."""

    _fields_ = tuple((name, _Int) for name in "LEBFR")

    @classmethod
    def of(cls, up: Tensor, num_rows: int) -> Self:
        assert up.is_contiguous()
        num_masks, num_experts, rank, num_features = up.shape
        return cls(num_masks, num_experts, num_rows, num_features, rank)


_ARGUMENTS = {
    "moments": (_View, *2 * [_Pointer], *3 * [_Int]),
    "affine": (*2 * [_View], *2 * [_Pointer], ctypes.c_int, *3 * [_Int]),
    "affine_backward": (*4 * [_View], *4 * [_Pointer], ctypes.c_int, *3 * [_Int]),
    "add_affine": (*2 * [_View], *2 * [_Pointer], *3 * [_Int]),
    "mix": (*3 * [_View], *4 * [_Int]),
    "mix_backward": (*5 * [_View], *4 * [_Int]),
}
_ONLY_BFLOAT16 = {
    "gate": (*4 * [_View], _Pointer, _Sizes),
    "gate_backward": (*7 * [_View], _Pointer, _Sizes),
}
_ONLY_FLOAT32 = {
    "linear": (*2 * [_View], _Pointer, *4 * [_Int]),
    "linear_backward": (*3 * [_View], *2 * [_Pointer], *4 * [_Int]),
    "gated_linear": (*4 * [_View], *2 * [_Pointer], _Int, _Sizes),
    "gated_linear_backward": (*7 * [_View], *4 * [_Pointer], _Int, _Sizes),
    "affine_linear": (*2 * [_View], *2 * [_Pointer], ctypes.c_int, _Pointer, *4 * [_Int]),
    "affine_linear_backward": (
        *(*3 * [_View], *4 * [_Pointer], ctypes.c_int, *2 * [_Pointer], *4 * [_Int]),
    ),
}


class Kernels:
    """Calls the functions of kernels.cpp on float32 or bfloat16 tensors of the CPU.

    Tensors of E experts are [E, B, D] with dense rows, or [B, D] for all experts.
    """

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._functions = {}
        for dtype, only in (torch.float32, _ONLY_FLOAT32), (torch.bfloat16, _ONLY_BFLOAT16):
            for name, arguments in (_ARGUMENTS | only).items():
                function = getattr(compiled, f"{name}_{str(dtype).removeprefix('torch.')}")
                function.argtypes, function.restype = arguments, None
                self._functions[name, dtype] = function

    def moments(self, x: Tensor, first: Tensor) -> Tensor:
        """Return the sums over B of x - first and of its square, [2, E, D] in float64."""
        totals = x.new_zeros(2, *first.shape, dtype=torch.float64)
        self._functions["moments", x.dtype](_view(x), _dense(first), totals.data_ptr(), *x.shape)
        return totals

    def affine(self, x: Tensor, scale: Tensor, shift: Tensor, swish: bool, out: Tensor) -> None:
        """Write `activation(x * scale + shift)`; scale and shift [E, D] are float32."""
        self._functions["affine", x.dtype](
            _view(x), _view(out), _dense(scale), _dense(shift), swish, *x.shape
        )

    def affine_backward(
        self,
        x: Tensor,
        dout: Tensor,
        dx: Tensor,
        out: Tensor | None,
        scale: Tensor,
        shift: Tensor,
        center: Tensor,
        totals: Tensor,
        swish: bool,
    ) -> None:
        """Write `dx = dy * scale`, for y = x * scale + shift, and `out`, if there is one.

        Add the sums over B of dy and `dy * (x - center)` to `totals` [2, E, D], float64.
        `out` may be `dout`.
        """
        self._functions["affine_backward", x.dtype](
            _view(x),
            _view(dout),
            _view(dx),
            _View() if out is None else _view(out),
            *(_dense(t) for t in (scale, shift, center)),
            totals.data_ptr(),
            swish,
            *x.shape,
        )

    def add_affine(self, x: Tensor, dx: Tensor, factor: Tensor, constant: Tensor) -> None:
        """Add `x * factor + constant` to dx."""
        self._functions["add_affine", x.dtype](
            _view(x), _view(dx), _dense(factor), _dense(constant), *x.shape
        )

    def affine_linear(
        self, x: Tensor, scale: Tensor, shift: Tensor, swish: bool, weight: Tensor
    ) -> Tensor:
        """Return `activation(x * scale + shift)` times `weight` [E, O, D], [E, B, O]; float32."""
        h = x.new_empty(*x.shape[:2], weight.shape[1])
        arguments = (_dense(scale), _dense(shift), swish, _dense(weight), weight.shape[1])
        self._functions["affine_linear", x.dtype](_view(x), _view(h), *arguments, *x.shape)
        return h

    def affine_linear_backward(
        self,
        x: Tensor,
        dh: Tensor,
        dx: Tensor,
        scale: Tensor,
        shift: Tensor,
        center: Tensor,
        totals: Tensor,
        swish: bool,
        weight: Tensor,
    ) -> Tensor:
        """Return the gradient of `weight`; else as affine_backward, from the gradient of h."""
        dweight = torch.zeros_like(weight)
        self._functions["affine_linear_backward", x.dtype](
            *(_view(t) for t in (x, dh, dx)),
            *(_dense(t) for t in (scale, shift, center)),
            totals.data_ptr(),
            swish,
            _dense(weight),
            _dense(dweight),
            weight.shape[1],
            *x.shape,
        )
        return dweight

    def gate(self, x: Tensor, low: Tensor, mixing: Tensor, up: Tensor, out: Tensor) -> None:
        """Write x times its mask [E, B, F]; bfloat16."""
        views = (_view(t) for t in (x, low, mixing, out))
        self._functions["gate", x.dtype](*views, up.data_ptr(), _Sizes.of(up, out.shape[1]))

    def gate_backward(
        self,
        x: Tensor,
        low: Tensor,
        mixing: Tensor,
        up: Tensor,
        dout: Tensor,
        dx: Tensor,
        dmixing: Tensor,
        dhigh: Tensor,
    ) -> None:
        """Write dx, dmixing and the gradient of `low_l up_l` [L*E, B, F]; bfloat16.

        dout becomes what `gate` wrote.
        """
        views = (_view(t) for t in (x, low, mixing, dout, dx, dmixing, dhigh))
        self._functions["gate_backward", x.dtype](
            *views, up.data_ptr(), _Sizes.of(up, dout.shape[1])
        )

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return x [E, B, D] times `weight` [E, O, D], [E, B, O]; float32."""
        h = x.new_empty(*x.shape[:2], weight.shape[1])
        arguments = (_dense(weight), weight.shape[1], *x.shape)
        self._functions["linear", x.dtype](_view(x), _view(h), *arguments)
        return h

    def linear_backward(self, x: Tensor, weight: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of x and weight; float32."""
        dx, dweight = torch.empty_like(x), torch.zeros_like(weight)
        self._functions["linear_backward", x.dtype](
            *(_view(t) for t in (x, dh, dx)),
            *(_dense(t) for t in (weight, dweight)),
            weight.shape[1],
            *x.shape,
        )
        return dx, dweight

    def gated_linear(
        self, x: Tensor, low: Tensor, mixing: Tensor, up: Tensor, weight: Tensor
    ) -> Tensor:
        """Return x times its mask times `weight` [E, out, F], [E, B, out]; float32."""
        num_experts, out_features, _ = weight.shape
        h = x.new_empty(num_experts, x.shape[-2], out_features)
        views = (_view(t) for t in (x, low, mixing, h))
        self._functions["gated_linear", x.dtype](
            *views, _dense(up), _dense(weight), out_features, _Sizes.of(up, x.shape[-2])
        )
        return h

    def gated_linear_backward(
        self, x: Tensor, low: Tensor, mixing: Tensor, up: Tensor, weight: Tensor, dh: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the gradients of all arguments of gated_linear, from that of what it returns."""
        dx, dlow, dmixing = (torch.empty_like(t) for t in (x, low, mixing))
        dup, dweight = torch.zeros_like(up), torch.zeros_like(weight)
        self._functions["gated_linear_backward", x.dtype](
            *(_view(t) for t in (x, low, mixing, dh, dx, dlow, dmixing)),
            *(_dense(t) for t in (up, dup, weight, dweight)),
            weight.shape[1],
            _Sizes.of(up, x.shape[-2]),
        )
        return dx, dlow, dmixing, dup, dweight

    def mix(self, weights: Tensor, x: Tensor) -> Tensor:
        """Return `sum_e weights_bme x_ebd`: weights [B, M, E], x [E, B, D] -> [B, M, D]."""
        num_experts, batch, dim = x.shape
        out = x.new_empty(batch, weights.shape[1], dim)
        sizes = (weights.shape[1], num_experts, batch, dim)
        self._functions["mix", x.dtype](_view(weights), _view(x), _view(out), *sizes)
        return out

    def mix_backward(self, weights: Tensor, x: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of weights and x."""
        dweights, dx = torch.empty_like(weights), torch.empty_like(x)
        views = (_view(t) for t in (weights, x, dout, dweights, dx))
        sizes = (weights.shape[1], *x.shape)
        self._functions["mix_backward", x.dtype](*views, *sizes)
        return dweights, dx


def _view(x: Tensor) -> _View:
    assert x.stride(-1) == 1 or x.shape[-1] == 1
    return _View(x.data_ptr(), x.stride(0) if x.dim() == 3 else 0, x.stride(-2))


def with_dense_rows(x: Tensor) -> Tensor:
    """Return x, as a copy if its rows are not dense: autograd may give any strides."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _dense(x: Tensor) -> int:
    assert x.is_contiguous()
    assert x.dtype == torch.float32
    return x.data_ptr()


def take(*tensors: Tensor) -> bool:
    """Whether the kernels are there and take tensors of this kind, [.., B, D]."""
    first = tensors[0]
    return (
        first.dtype in (torch.float32, torch.bfloat16)
        and all(t.is_cpu and t.dtype == first.dtype and t.stride(-1) == 1 for t in tensors)
        and compiled() is not None
    )


def kernels_for(x: Tensor) -> Kernels:
    """Return the kernels, which `take` x."""
    assert take(x)
    found = compiled()
    assert found is not None
    return found


def compiled() -> Kernels | None:
    """Return the kernels, compiled if they are not yet (seconds), or None; see `why_not`."""
    loaded = _load()
    return loaded if isinstance(loaded, Kernels) else None


def why_not() -> str | None:
    """Return why there are no kernels here although they are wanted."""
    loaded = _load()
    return None if isinstance(loaded, Kernels) else loaded


@functools.cache
def _load() -> Kernels | str | None:
    if os.environ.get("HOMEREC_KERNELS") == "0":
        return None
    try:
        return Kernels(ctypes.CDLL(str(library())))
    except subprocess.CalledProcessError as error:
        return f"{shlex.join(error.cmd)}: {error.stderr.strip()[-500:]}"
    except OSError as error:
        return str(error)
