"""Clusters: devices, memory and bandwidths, from presets or files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

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
from embeddings.planner.inputs.costs import GBS, Costs, SharedBandwidths
from embeddings.planner.inputs.yaml_files import read_yaml, validate

GIB = 2**30
MAX_RANKS = 2**14

Bandwidth = Annotated[float, Field(gt=0, le=1e6)]
"""GB/s."""

_PRESETS = files("embeddings.planner.inputs") / "clusters"


class OtherMemory(Frozen):
    """Some hosts, or some ranks, whose memory is not that of the others."""

    hosts: tuple[int, ...] = ()
    """Hosts, from 0."""
    ranks: tuple[int, ...] = ()
    """Ranks (devices), from 0."""
    hbm_gb: float | None = Field(default=None, gt=0, le=2**14)
    """Memory of each of these devices."""
    ddr_gb: float | None = Field(default=None, gt=0, le=2**16)
    """Main memory of each of these hosts."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.hosts) == bool(self.ranks):
            raise ValueError("name hosts or ranks, one of the two")
        if self.hbm_gb is None and self.ddr_gb is None:
            raise ValueError("give their hbm_gb or ddr_gb")
        if self.ranks and self.ddr_gb is not None:
            raise ValueError("ddr_gb: main memory is a host's; name hosts")
        return self


class Cluster(Frozen):
    """Hosts with equally many devices of equal speed. A rank is a device (on CPU: a process).

    Memory is in GiB (2^30 bytes), bandwidth in GB/s (10^9 bytes per second) per direction. All
    values except `ddr_gb` are per device.
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
    other_memory: tuple[OtherMemory, ...] = ()
    """Hosts or ranks with more or less memory than `hbm_gb` and `ddr_gb`; the last entry that names
    a rank applies. Speeds are the same everywhere: give those of the slowest device."""
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
        for other in self.other_memory:
            if other.hbm_gb is not None and self.device == "cpu":
                raise ValueError("other_memory: hbm_gb on cpu, which has no such memory; remove it")
            for what, named, count in (
                ("host", other.hosts, self.hosts),
                ("rank", other.ranks, self.ranks),
            ):
                wrong = [number for number in named if not 0 <= number < count]
                if wrong:
                    raise ValueError(
                        f"other_memory: no {what} {wrong[0]}; {what}s are 0 to {count - 1}"
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
        for other in self.other_memory:
            for rank, device in enumerate(topology.devices):
                if rank not in other.ranks and rank // self.devices_per_host not in other.hosts:
                    continue
                if other.hbm_gb is not None:
                    device.storage.hbm = int(other.hbm_gb * GIB)
                if other.ddr_gb is not None:
                    device.storage.ddr = int(other.ddr_gb * GIB / self.devices_per_host)
        return topology

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

    A file may contain `preset: h100` and the fields that differ. Raises ValueError, in one line.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        value = read_yaml(path)
        if "preset" in value:
            value = {**_preset(str(value.pop("preset")), path), **value}
        return validate(Cluster, value, path)
    sized = re.fullmatch(r"(.+)-(\d+)x(\d+)", source)
    if sized and sized[1] in presets():
        size = {"devices_per_host": int(sized[2]), "hosts": int(sized[3])}
        return validate(Cluster, {**_preset(sized[1], source), **size}, source)
    return validate(Cluster, _preset(source, "cluster"), source)


def _preset(name: str, where: Path | str) -> dict[str, Any]:
    if name not in presets():
        raise ValueError(
            f"{where}: no preset {name!r}; presets: {', '.join(presets())} "
            "(also as NAME-8x16: devices per host x hosts), or give a .yaml file"
        )
    with (_PRESETS / f"{name}.yaml").open(encoding="utf-8") as file:
        return read_yaml(Path(file.name))
