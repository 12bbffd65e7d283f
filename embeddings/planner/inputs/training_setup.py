"""The training setup that affects the cost of tables: exchanges, pipeline, memory, replicas.

The defaults are those of TorchRec's planner.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torchrec.distributed.fbgemm_qcomm_codec import (
    CommType,
    QCommsConfig,
    get_qcomm_codecs_registry,
)
from torchrec.distributed.planner.storage_reservations import (
    FixedAbsoluteStorageReservation,
    FixedPercentageStorageReservation,
    HeuristicalStorageReservation,
)
from torchrec.distributed.planner.types import StorageReservation
from torchrec.distributed.types import ModuleSharder, PipelineType

from embeddings.frozen import Frozen
from embeddings.planner.inputs.arrays import IntArray
from embeddings.planner.inputs.cluster import GIB, Cluster
from embeddings.sharders import all_sharders

Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8"]

_PIPELINES = {
    "none": PipelineType.NONE,
    "sparse_dist": PipelineType.TRAIN_SPARSE_DIST,
    "prefetch": PipelineType.TRAIN_PREFETCH_SPARSE_DIST,
}


class TrainingSetup(Frozen):
    """Inputs of a plan in addition to tables, cluster and batch."""

    qcomm_forward: Precision = "fp32"
    """Type of sent embeddings; fp32: the type of the table."""
    qcomm_backward: Precision = "fp32"
    """Type of their sent gradients; fp32: the type of the table."""
    pipeline: Literal["none", "sparse_dist", "prefetch"] = "none"
    """TorchRec train pipeline, whose batches in flight take memory; prefetch also fetches cached
    rows one batch ahead. none: TorchRec's older formula, ids and outputs of one batch."""
    reserve: Literal["heuristic", "fixed_percentage", "fixed_absolute"] = "heuristic"
    """Memory reserved for other uses. heuristic: a share of HBM, six times the dense weights, and
    twenty times the ids of a batch. The fixed ones concern HBM only."""
    reserve_share: float = Field(default=0.15, ge=0, le=1)
    """Share of HBM (heuristic, fixed_percentage)."""
    reserve_gib: float = Field(default=0.0, ge=0)
    """GiB of HBM (fixed_absolute)."""
    dense_gib: float | None = Field(default=None, gt=0)
    """GiB instead of six times the dense weights (heuristic)."""
    replica_groups: int = Field(default=1, ge=1)
    """Number of groups of ranks in TorchRec's DMPCollection: each group has all tables, sharded
    within the group, and tables are averaged over groups."""
    replicas_across_hosts: bool = False
    """Whether a group consists of adjacent ranks (use_inter_host_allreduce); else of every n-th
    rank, so that replicas are within a host if possible."""
    sync_every: int = Field(default=1, ge=1)
    """Steps between averages of replicas."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dense_gib is not None and self.reserve != "heuristic":
            raise ValueError(f"dense_gib: not used with {self.reserve}; remove one of both")
        return self

    def sharders(self, device: str) -> list[ModuleSharder[Any]]:
        """Return sharders with quantized exchanges, if any; TorchRec replaces unsupported types."""
        return all_sharders(self.codecs(device))

    def codecs(self, device: str) -> Mapping[str, Any] | None:
        """Return TorchRec's codecs by exchange; None without quantization."""
        log = logging.getLogger()  # TorchRec logs replacements to the root logger
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            found: Mapping[str, Any] | None = get_qcomm_codecs_registry(
                QCommsConfig(
                    forward_precision=CommType(self.qcomm_forward),
                    backward_precision=CommType(self.qcomm_backward),
                ),
                device=torch.device(device),
            )
        finally:
            log.setLevel(level)
        return found

    def reservation(self) -> StorageReservation:
        """TorchRec's."""
        if self.reserve == "fixed_percentage":
            return FixedPercentageStorageReservation(self.reserve_share)
        if self.reserve == "fixed_absolute":
            return FixedAbsoluteStorageReservation(int(self.reserve_gib * GIB))
        dense = None if self.dense_gib is None else int(self.dense_gib * GIB)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="HeuristicalStorageReservation")
            return HeuristicalStorageReservation(self.reserve_share, dense_tensor_estimate=dense)

    @property
    def pipeline_type(self) -> PipelineType:
        return _PIPELINES[self.pipeline]

    def group(self, cluster: Cluster) -> Cluster:
        """Return one of the groups, over which tables are sharded, as a cluster.

        Raises ValueError if groups are uneven or TorchRec cannot form them.
        """
        groups, local = self.replica_groups, cluster.devices_per_host
        if groups == 1:
            return cluster
        if cluster.other_devices:
            raise ValueError(
                "replica_groups: groups are planned alike, and other_devices makes ranks differ; "
                "drop one of the two"
            )
        inside: IntArray = np.zeros(0, np.int64)
        if cluster.ranks % groups == 0:
            hosts = self._members(cluster) // local
            by_group = hosts + cluster.hosts * np.arange(groups)[:, None]
            # Ranks of a group on each of its hosts.
            inside = np.unique(np.unique(by_group, return_counts=True)[1])
        if len(inside) != 1:
            raise ValueError(
                f"replica_groups: {groups} groups do not split {cluster.hosts} hosts of {local} "
                "devices evenly; use a divisor or a multiple of the devices per host"
            )
        each = int(inside[0])
        return cluster.model_copy(
            update={
                "hosts": cluster.ranks // groups // each,
                "devices_per_host": each,
                # A rank's share of main memory does not change.
                "ddr_gb": cluster.ddr_gb * each / local,
            }
        )

    def copies_within_host(self, cluster: Cluster) -> bool:
        """Whether all copies of a shard are on one host of `cluster`."""
        hosts = self._members(cluster) // cluster.devices_per_host
        return bool((hosts == hosts[0]).all())

    def _members(self, cluster: Cluster) -> IntArray:
        """Return the ranks of each group as in DMPCollection, [G, R / G]."""
        ranks = np.arange(cluster.ranks)
        if self.replicas_across_hosts:
            return ranks.reshape(self.replica_groups, -1)
        return ranks.reshape(-1, self.replica_groups).T
