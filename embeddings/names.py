"""The one rule for names of tables, features and tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Dots and slashes part the names of parameters and metrics, commas the names in a list, and
# patterns have wildcards.
_TAKEN = re.compile(r"[\s.,/*?\[\]]")
_LENGTH = 200
_TORCH = """
T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda
double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
get_submodule half ipu items keys load_state_dict modules mtia named_buffers named_children
named_modules named_parameters parameters pop register_backward_hook register_buffer
register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook
register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook
requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train training type
update values xpu zero_grad
"""
"""Public attributes of torch's ModuleDict, in which TorchRec stores tables."""


def check_name(name: str) -> str:
    """`name` itself. Raises ValueError for one that does not stand for itself everywhere."""
    if not name:
        raise ValueError("'' is no name; give one")
    if len(name) > _LENGTH:
        raise ValueError(f"a name of {len(name)} characters; give one of at most {_LENGTH}")
    if _TAKEN.search(name) or not name.isprintable():
        other = re.sub(r"[^\w-]+", "_", name)
        raise ValueError(
            f"{name!r} is no name: it has a blank, a control character or one of . , / * ? [ ]; "
            f"rename it, e.g. to {other!r}"
        )
    return name


def table_names(names: Iterable[str]) -> dict[str, str]:
    """Return the name of the table for each of `names`: itself, or with '_' behind it if torch
    keeps the name for its own (type, items)."""
    wanted, kept = set(names), set(_TORCH.split())
    found = {name: name for name in wanted - kept}
    for name in sorted(wanted & kept):
        free = f"{name}_"
        while free in wanted or free in found.values():
            free += "_"
        found[name] = free
    return found
