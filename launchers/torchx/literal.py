"""Escapes text against macro substitution by TorchX and torchrun."""

from __future__ import annotations


def literal(text: str) -> str:
    """Escape `text` so that substituting macros such as ${app_id} or ${local_rank} restores it.

    TorchX (in arguments and variables of a role) and torchrun (in arguments) read $$ as a dollar.
    """
    return text.replace("$", "$$")
