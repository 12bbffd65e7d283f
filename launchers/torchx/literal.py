"""Text in which TorchX and torchrun find no macro."""

from __future__ import annotations


def literal(text: str) -> str:
    """What both of them make `text` of again, where they fill in ${app_id} or ${local_rank}.

    To them $$ is a dollar, in the arguments and, to TorchX, the variables of a role.
    """
    return text.replace("$", "$$")
