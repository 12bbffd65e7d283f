"""Filters warnings of libraries about their internals, which users cannot fix."""

from __future__ import annotations

import logging
import os
import warnings

_MESSAGES = (
    ".*broadcast_buffers. is deprecated.*",  # TorchRec's DDP wrapper
    ".*HeuristicalStorageReservation.*",  # TorchRec's planner
    ".*torch.distributed.reduce_scatter_tensor.*",
    ".*torch.distributed.all_gather_into_tensor.*",
    ".*Grad strides do not match bucket view strides.*",  # harmless, for tiny tensors
    ".*Please use DTensor instead.*",  # ShardedTensor, which TorchRec still uses
    ".*TypedStorage is deprecated.*",
    ".*_reduce_scatter_base.*",
    ".*_all_gather_base.*",
    ".*dense_embedding_codegen_lookup_function: an autograd kernel was not registered.*",  # FBGEMM
)
# Messages of TorchRec to the root logger.
_ROOT = ("[2D]", "[Connection]", "Sharding spec not found")
_LOGGERS = ("torchrec", "torch.fx._symbolic_trace", "torch.distributed.checkpoint")


def silence_libraries() -> None:
    """Filter warnings here and in child processes; HOMEREC_WARNINGS=1 shows them."""
    if os.environ.get("HOMEREC_WARNINGS") == "1":
        return
    for message in _MESSAGES:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger().addFilter(_of_interest)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def _of_interest(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_ROOT)
