"""Import TorchRec's planner in half of the time: `homerec plan` is a command that one waits for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from pipeline.io.import_time import no_garbage_collection

# What TorchRec and fbgemm import and a plan does not use: classes it has no object of, and
# functions of symbolic shapes. With them come torch's compiler and sympy.
_UNUSED = {
    "tensordict": ("TensorDict",),
    "torch.fx.experimental.symbolic_shapes": (
        "GuardOnDataDependentSymNode",
        "guard_or_false",
        "guard_or_true",
        "statically_known_true",
    ),
}


@contextmanager
def light_import() -> Iterator[None]:
    """Imports within take half of the time, unless TorchRec has been imported.

    `_UNUSED` have placeholders meanwhile.
    """
    placed = [] if "torchrec" in sys.modules else [n for n in _UNUSED if n not in sys.modules]
    sys.modules.update({name: _placeholder(name) for name in placed})
    try:
        with no_garbage_collection():
            yield
    finally:
        for name in placed:
            del sys.modules[name]


def _placeholder(name: str) -> ModuleType:
    module = ModuleType(name)
    for member in _UNUSED[name]:
        # No object is one of the classes, and none is raised.
        value = type(member, (Exception,), {}) if member[0].isupper() else _late(name, member)
        setattr(module, member, value)
    return module


def _late(module: str, name: str) -> Callable[..., Any]:
    """The function, imported when it is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(module), name)(*args, **kwargs)

    return call
