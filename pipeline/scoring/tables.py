"""Embedding tables as files that are mapped into memory.

fp32, fp16   rows x dim numbers
int8         per row: dim whole numbers q from 0 to 255, then scale and offset as float32:
             value = q * scale + offset, FBGEMM's 8-bit row-wise format
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.layers.attention import offsets_of, segment_sum
from pipeline.scoring.manifest import TableRecord, TableType

_PARAMETERS = 8
"""Bytes of scale and offset."""


def row_bytes(kind: TableType, dim: int) -> int:
    """Return the bytes of a row."""
    return {"fp32": 4 * dim, "fp16": 2 * dim, "int8": dim + _PARAMETERS}[kind]


def pack_rows(values_RD: Tensor, kind: TableType) -> Tensor:
    """Return rows [R, dim] in the format of a file: float32, float16, or uint8 [R, dim + 8]."""
    values_RD = values_RD.float()
    if kind == "fp32":
        return values_RD.contiguous()
    if kind == "fp16":
        return values_RD.half()
    low_R1, high_R1 = values_RD.aminmax(dim=1, keepdim=True)
    scale_R1 = (high_R1 - low_R1) / 255
    safe_R1 = torch.where(scale_R1 > 0, scale_R1, 1.0)
    codes_RD = ((values_RD - low_R1) / safe_R1).round_().clamp_(0, 255).to(torch.uint8)
    parameters = torch.cat([scale_R1, low_R1], dim=1).view(torch.uint8)
    return torch.cat([codes_RD, parameters], dim=1)


class MappedTable:
    """A table that is read from its file as it is used."""

    def __init__(self, folder: Path, record: TableRecord) -> None:
        self.record = record
        self._rows = _mapped(folder / record.file, record)

    def rows(self, ids_L: Tensor) -> Tensor:
        """Return rows, float32 [L, dim], for ids below `rows`."""
        found = torch.index_select(self._rows, 0, ids_L)
        return _unpacked(found, self.record) if self.record.type == "int8" else found.float()

    def bags(self, ids_L: Tensor, lengths_B: Tensor, weights_L: Tensor | None) -> Tensor:
        """Return the sum of each bag's rows, [B, dim]; `weights_L` weight the ids."""
        if self.record.type == "fp32":
            return torch.nn.functional.embedding_bag(
                ids_L,
                self._rows,
                offsets_of(lengths_B),
                mode="sum",
                per_sample_weights=weights_L,
                include_last_offset=True,
            )
        rows_LD = self.rows(ids_L)
        if weights_L is not None:
            rows_LD *= weights_L[:, None]
        return segment_sum(rows_LD, offsets_of(lengths_B))


def _mapped(path: Path, record: TableRecord) -> Tensor:
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.uint8}[record.type]
    size = record.rows * row_bytes(record.type, record.dim)
    # torch.from_file asks for memory for all of it, as for a private copy.
    mapped = np.memmap(path, np.uint8, mode="r", shape=(size,))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        flat = torch.from_numpy(mapped).view(dtype)
    return flat.view(record.rows, -1)


def _unpacked(rows_LV: Tensor, record: TableRecord) -> Tensor:
    codes_LD, parameters = rows_LV[:, : record.dim], rows_LV[:, record.dim :]
    scale_L1, offset_L1 = torch.split(parameters.contiguous().view(torch.float32), 1, dim=1)
    return torch.addcmul(offset_L1, codes_LD.float(), scale_L1)
