"""Hosts or ranks whose devices are not those of the rest of a cluster."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from embeddings.frozen import Frozen

Bandwidth = Annotated[float, Field(gt=0, le=1e6)]
"""GB/s."""
DeviceMemory = Annotated[float, Field(gt=0, le=2**14)]
"""GiB."""
HostMemory = Annotated[float, Field(gt=0, le=2**16)]
"""GiB."""

HOST_MEMORIES = ("ddr_gb", "ssd_gb")
SPEEDS = ("hbm_bw", "ddr_bw", "intra_bw", "inter_bw", "host_device_bw", "ssd_bw")
"""Fields of a cluster file on which milliseconds depend."""


class OtherDevices(Frozen):
    """Some hosts, or some ranks, that differ. A field that is not set is the cluster's."""

    name: str = ""
    """Display name."""
    hosts: tuple[int, ...] = ()
    """Hosts, from 0."""
    ranks: tuple[int, ...] = ()
    """Ranks (devices), from 0."""
    hbm_gb: DeviceMemory | None = None
    """Memory of each of these devices."""
    ddr_gb: HostMemory | None = None
    """Main memory of each of these hosts."""
    ssd_gb: Annotated[float, Field(gt=0, le=2**20)] | None = None
    """SSD memory of each of these hosts that tables may fill."""
    hbm_bw: Bandwidth | None = None
    ddr_bw: Bandwidth | None = None
    intra_bw: Bandwidth | None = None
    inter_bw: Bandwidth | None = None
    host_device_bw: Bandwidth | None = None
    ssd_bw: Bandwidth | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.hosts) == bool(self.ranks):
            raise ValueError("name hosts or ranks, one of the two")
        if not self.differing():
            raise ValueError("nothing differs; give preset, hbm_gb, hbm_bw, ddr_gb or another")
        for field in HOST_MEMORIES:
            if self.ranks and getattr(self, field) is not None:
                raise ValueError(f"{field}: this memory is a host's; name hosts")
        return self

    def differing(self) -> dict[str, float]:
        """Return the memories and speeds that are given."""
        fields = ("hbm_gb", *HOST_MEMORIES, *SPEEDS)
        given = {field: getattr(self, field) for field in fields}
        return {field: value for field, value in given.items() if value is not None}


def of_preset(entry: dict[str, Any], preset: dict[str, Any], device: object) -> dict[str, Any]:
    """Return an entry of a file with what it leaves out from a preset. ValueError if the preset is
    for another type of device than `device`, the cluster's; None: the file does not say."""
    if device is not None and preset["device"] != device:
        raise ValueError(
            f"a {preset['device']} preset in a cluster of device {device}; TorchRec shards over "
            "devices of one type"
        )
    wanted = set(OtherDevices.model_fields) - {"hosts", "ranks"}
    if entry.get("ranks"):
        wanted -= set(HOST_MEMORIES)
    return {**{name: value for name, value in preset.items() if name in wanted}, **entry}
