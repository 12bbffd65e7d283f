"""Clusters: devices, memory and bandwidths, from presets or files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from torchrec.distributed.planner.constants import SSD_MEM_BW
from torchrec.distributed.planner.types import (
    HardwareConfig,
    KernelConfig,
    Topology,
    TopologyFactory,
    TrainerConfig,
)

from embeddings.frozen import Frozen
from embeddings.planner.inputs.arrays import FloatArray, IntArray
from embeddings.planner.inputs.costs import GBS, Costs, SharedBandwidths
from embeddings.planner.inputs.files import read_yaml, validate
from embeddings.planner.inputs.other_devices import (
    SPEEDS,
    Bandwidth,
    OtherDevices,
    of_preset,
)

GIB = 2**30
MAX_RANKS = 2**14

_PRESETS = files("embeddings.planner.inputs") / "clusters"


class Cluster(Frozen):
    """Hosts with equally many devices. A rank is a device (on CPU: a process).

    Memory is in GiB (2^30 bytes), bandwidth in GB/s (10^9 bytes per second) per direction. All
    values except `ddr_gb` and `ssd_gb` are per device.
    """

    name: str = ""
    """Display name."""
    hosts: int = Field(ge=1, le=MAX_RANKS)
    """Machines."""
    devices_per_host: int = Field(ge=1, le=1024)
    """Devices (ranks) per machine."""
    device: Literal["cuda", "cpu"]
    """TorchRec's name of the device type."""
    hbm_gb: float = Field(default=0.0, ge=0, le=2**14)
    """Memory of a device; 0 on CPU."""
    ddr_gb: float = Field(gt=0, le=2**16)
    """Main memory of a host, shared equally by its ranks."""
    ssd_gb: float = Field(default=0.0, ge=0, le=2**20)
    """SSD memory of a host that tables may fill (kernel key_value); its ranks share it equally."""
    ssd_bw: Bandwidth = SSD_MEM_BW / GBS
    """Between a device and SSD; TorchRec's default is 0.105."""
    hbm_bw: float = Field(default=0.0, ge=0, le=1e6)
    """Between a device and its own memory; 0 on CPU."""
    ddr_bw: Bandwidth
    """Between a rank's share of the processors and main memory; used by TorchRec on CPU only."""
    intra_bw: Bandwidth
    """Between devices of one host."""
    inter_bw: Bandwidth
    """Between a device and those of other hosts."""
    host_device_bw: Bandwidth
    """Between a device and main memory."""
    tflops: float | None = Field(default=None, gt=0)
    """Dense bf16 matrix products (10^12 operations per second); not used by TorchRec."""
    other_devices: tuple[OtherDevices, ...] = Field(default=(), max_length=64)
    """Hosts or ranks whose memory or speed is not that of the fields above; of entries that name a
    rank, the last one that gives a field applies."""
    costs: Costs | None = None
    """Measured constants of TorchRec's estimates; unset: TorchRec's defaults."""
    source: str = ""
    """Source of the numbers: machine, date, command."""

    @model_validator(mode="after")
    def _size(self) -> Self:
        if self.ranks > MAX_RANKS:
            raise ValueError(
                f"{self.hosts} hosts of {self.devices_per_host} devices are {self.ranks:,} ranks; "
                f"give at most {MAX_RANKS:,}"
            )
        return self

    @model_validator(mode="after")
    def _memory(self) -> Self:
        for field, unit in (("hbm_gb", "GiB"), ("hbm_bw", "GB/s")):
            value = getattr(self, field)
            if self.device == "cuda" and not value:
                raise ValueError(f"{field}: 0 on a cuda device; give a positive value, in {unit}")
            if self.device == "cpu" and value:
                raise ValueError(f"{field}: {value} on cpu, which has no such memory; remove it")
        for other in self.other_devices:
            for field in ("hbm_gb", "hbm_bw"):
                if self.device == "cpu" and getattr(other, field) is not None:
                    raise ValueError(
                        f"other_devices: {field} on cpu, which has no such memory; remove it"
                    )
            for what, named, count in (
                ("host", other.hosts, self.hosts),
                ("rank", other.ranks, self.ranks),
            ):
                wrong = [number for number in named if not 0 <= number < count]
                if wrong:
                    raise ValueError(
                        f"other_devices: no {what} {wrong[0]}; {what}s are 0 to {count - 1}"
                    )
        return self

    @property
    def ranks(self) -> int:
        return self.hosts * self.devices_per_host

    def start_ms(self, types: Iterable[str]) -> float:
        """Return the fixed milliseconds of these sharding types per rank; 0 if not measured."""
        return sum(self.costs.starts.by_part(types, self.ranks).values()) if self.costs else 0.0

    def topology(self) -> Topology:
        """Return TorchRec's description of the cluster, with all defaults overridden."""
        topology = TopologyFactory.create_topology(
            TrainerConfig(world_size=self.ranks, local_world_size=self.devices_per_host),
            HardwareConfig(
                hbm_cap_bytes=int(self.hbm_gb * GIB),
                ddr_cap_bytes=int(self.ddr_gb * GIB / self.devices_per_host),
                ssd_cap_bytes=int(self.ssd_gb * GIB / self.devices_per_host),
                ssd_mem_bw=self.ssd_bw * GBS,
                hbm_mem_bw=(self.hbm_bw or self.ddr_bw) * GBS,
                ddr_mem_bw=self.ddr_bw * GBS,
                intra_host_bw=self.intra_bw * GBS,
                inter_host_bw=self.inter_bw * GBS,
                hbm_to_ddr_mem_bw=self.host_device_bw * GBS,
            ),
            # Without this flag the factory ignores all given bandwidths.
            KernelConfig(
                compute_device=self.device, use_hardware_based_bandwidth=True, **self._constants()
            ),
        )
        if self.other_devices:
            memory = [self.by_rank(field) * GIB for field in ("hbm_gb", "ddr_gb", "ssd_gb")]
            for device, hbm, ddr, ssd in zip(topology.devices, *memory, strict=True):
                device.storage.hbm = int(hbm)
                device.storage.ddr = int(ddr / self.devices_per_host)
                device.storage.ssd = int(ssd / self.devices_per_host)
        return topology

    def at_least(self, field: str, amount: float) -> Cluster:
        """Return the cluster with at least this amount of a memory everywhere."""
        raised = [
            other.model_copy(update={field: max(given, amount)})
            if (given := getattr(other, field)) is not None
            else other
            for other in self.other_devices
        ]
        base = max(getattr(self, field), amount)
        return self.model_copy(update={field: base, "other_devices": tuple(raised)})

    def kinds(self) -> tuple[tuple[Cluster, ...], IntArray]:
        """Return a cluster of equal devices for each combination of speeds, and the index of that
        of every rank, [R]."""
        if not self.other_devices:
            return (self,), np.zeros(self.ranks, np.int64)
        speeds = np.stack([self.by_rank(field) for field in SPEEDS], axis=1)
        rows, kind = np.unique(speeds, axis=0, return_inverse=True)
        found = [self._alike(dict(zip(SPEEDS, row, strict=True))) for row in rows.tolist()]
        return tuple(found), kind

    def _alike(self, speeds: dict[str, float]) -> Cluster:
        """Return this cluster with these speeds everywhere."""
        changed: dict[str, Any] = {**speeds, "other_devices": ()}
        if self.costs and self.costs.dense_bw is not None:  # as much faster as the memory is
            memory = "hbm_bw" if self.device == "cuda" else "ddr_bw"
            dense_bw = self.costs.dense_bw * speeds[memory] / getattr(self, memory)
            changed["costs"] = self.costs.model_copy(update={"dense_bw": dense_bw})
        return self.model_copy(update=changed)

    def by_rank(self, field: str) -> FloatArray:
        """Return the value of a field for every rank's device or host, [R]."""
        values = np.full(self.ranks, float(getattr(self, field)))
        for other in self.other_devices:
            value = getattr(other, field)
            if value is not None:
                hosts = np.array(other.hosts, np.int64)
                values.reshape(self.hosts, -1)[hosts] = value
                values[np.array(other.ranks, np.int64)] = value
        return values

    def _constants(self) -> dict[str, Any]:
        """Return the arguments of KernelConfig for the cluster's own constants, if it has any."""
        if self.costs is None:
            return {}
        return {
            "bwd_compute_multiplier": self.costs.bwd_compute_multiplier,
            "weighted_feature_bwd_compute_multiplier": (
                self.costs.weighted_feature_bwd_compute_multiplier
            ),
            "generalized_comms_bandwidths": SharedBandwidths(
                intra_bw=self.intra_bw, inter_bw=self.inter_bw, shares=self.costs.shares
            ),
        }


def presets() -> list[str]:
    """Return the names of the presets."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in _PRESETS.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_cluster(source: str) -> Cluster:
    """Load a YAML file or a preset (`h100`, or `h100-8x16` with devices per host x hosts).

    A file, and each of its `other_devices`, may contain `preset: h100` and the fields that differ.
    Raises ValueError, in one line.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        value = read_yaml(path)
        if "preset" in value:
            value = {**_preset(str(value.pop("preset")), path), **value}
        if isinstance(value.get("other_devices"), list):
            value["other_devices"] = [
                _entry(one, value.get("device"), f"{path}: other_devices.{n}")
                for n, one in enumerate(value["other_devices"])
            ]
        return validate(Cluster, value, path)
    sized = re.fullmatch(r"(.+)-(\d+)x(\d+)", source)
    if sized and sized[1] in presets():
        size = {"devices_per_host": int(sized[2]), "hosts": int(sized[3])}
        return validate(Cluster, {**_preset(sized[1], source), **size}, source)
    return validate(Cluster, _preset(source, "cluster"), source)


def _entry(entry: Any, device: object, where: str) -> Any:
    """Return an entry of `other_devices` with what its preset, if it names one, adds."""
    if not isinstance(entry, dict) or "preset" not in entry:
        return entry
    given = {name: value for name, value in entry.items() if name != "preset"}
    preset = _preset(str(entry["preset"]), where)
    try:
        return of_preset(given, preset, device)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _preset(name: str, where: Path | str) -> dict[str, Any]:
    if name not in presets():
        raise ValueError(
            f"{where}: no preset {name!r}; presets: {', '.join(presets())} "
            "(also as NAME-8x16: devices per host x hosts), or give a .yaml file"
        )
    with (_PRESETS / f"{name}.yaml").open(encoding="utf-8") as file:
        return read_yaml(Path(file.name))
