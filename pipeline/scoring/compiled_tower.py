"""Runs a tower that AOTInductor compiled, without holding Python's lock.

PyTorch's own AOTIModelPackageLoader holds it for a whole run, so threads would score one after
another. This calls the library in the package by its C interface
(torch/csrc/inductor/aoti_runtime/interface.h).
"""

from __future__ import annotations

import ctypes
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.io.errors import UserError

_Pointer = ctypes.c_void_p
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype, _capsule.argtypes = ctypes.py_object, (_Pointer, _Pointer, _Pointer)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = _Pointer, (ctypes.py_object, _Pointer)


class CompiledTower:
    """[B, F] -> logits [B, T]. Lives as long as the process: a library is not unloaded."""

    def __init__(self, package: Path, runs: int) -> None:
        """`runs`: calls at a time; others wait. Raises UserError if the package is damaged."""
        library = _library(package)
        self._run = library.AOTInductorModelContainerRun
        self._run.restype = ctypes.c_int32
        self._run.argtypes = (
            *(_Pointer, _Pointer, ctypes.c_size_t, _Pointer, ctypes.c_size_t),
            *(_Pointer, _Pointer),
        )
        self._container = _Pointer()
        failed = library.AOTInductorModelContainerCreateWithDevice(
            ctypes.byref(self._container), ctypes.c_size_t(runs), b"cpu", None
        )
        if failed:
            raise UserError(f"{package}: cannot be run here; export the model again")

    def __call__(self, v_BF: Tensor) -> Tensor:
        alloc: Any = torch._C._aoti
        # The run takes over the input's handle, and we that of the output.
        handle = _pointer(alloc.unsafe_alloc_void_ptr_from_tensor(v_BF), None)
        inputs, outputs = (_Pointer * 1)(handle), (_Pointer * 1)()
        if self._run(self._container, inputs, 1, outputs, 1, None, None):
            raise RuntimeError("the compiled tower failed; its message is on stderr")
        # Of the two functions that take over handles, the one for a single tensor keeps it alive.
        logits_BT: Tensor = alloc.alloc_tensors_by_stealing_from_void_ptrs(
            [_capsule(outputs[0], None, None)]
        )[0]
        return logits_BT


def _library(package: Path) -> ctypes.CDLL:
    """Load the library in a package."""
    try:
        with zipfile.ZipFile(package) as archive, tempfile.TemporaryDirectory() as folder:
            (name,) = [name for name in archive.namelist() if name.endswith(".so")]
            # Loaded, it needs no file.
            return ctypes.CDLL(archive.extract(name, folder))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{package}: cannot be loaded ({reason}); export the model again"
        ) from error
