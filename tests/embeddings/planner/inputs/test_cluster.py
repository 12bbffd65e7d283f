"""Clusters from files and presets: every number arrives, and bad ones are rejected in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from embeddings.planner.inputs.cluster import GIB, Cluster, load_cluster, presets
from embeddings.planner.inputs.cluster_file import cluster_yaml, rounded
from embeddings.planner.inputs.costs import Costs, KernelCosts, LookupWeights

H100 = {
    "hosts": 2, "devices_per_host": 8, "device": "cuda", "hbm_gb": 80, "ddr_gb": 2048,
    "hbm_bw": 3350, "ddr_bw": 76.8, "intra_bw": 450, "inter_bw": 50, "host_device_bw": 64,
}  # fmt: skip


def write(path: Path, value: object) -> str:
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return str(path)


def test_every_number_reaches_torchrec() -> None:
    topology = Cluster(**H100).topology()
    assert (topology.world_size, topology.local_world_size) == (16, 8)
    assert topology.devices[0].storage.hbm == 80 * GIB
    assert topology.devices[0].storage.ddr == 2048 * GIB // 8
    # Bytes a millisecond.
    assert topology.hbm_mem_bw == 3350e6
    assert topology.ddr_mem_bw == pytest.approx(76.8e6)
    assert topology.intra_host_bw == 450e6
    assert topology.inter_host_bw == 50e6
    assert topology.hbm_to_ddr_mem_bw == 64e6


def test_presets_are_whole_and_named() -> None:
    assert presets() == ["a100-40", "a100-80", "b200", "cpu", "h100", "h200", "l4"]
    for name in presets():
        cluster = load_cluster(name)
        assert cluster.topology().world_size == cluster.ranks
        assert cluster.inter_bw <= cluster.intra_bw


def test_a_preset_in_another_size() -> None:
    cluster = load_cluster("h100-8x16")
    assert (cluster.devices_per_host, cluster.hosts, cluster.ranks) == (8, 16, 128)
    assert cluster.hbm_bw == load_cluster("h100").hbm_bw
    assert load_cluster("a100-40-4x2").hbm_gb == 40


def test_a_file_may_start_from_a_preset(tmp_path: Path) -> None:
    cluster = load_cluster(write(tmp_path / "c.yaml", {"preset": "h100", "hosts": 3}))
    assert cluster == load_cluster("h100").model_copy(update={"hosts": 3})


def test_devices_of_another_preset_differ_in_memory_and_speed(tmp_path: Path) -> None:
    """Of entries that name a rank, the last one that gives a field applies."""
    other = [
        {"hosts": [1], "preset": "a100-40"},
        {"ranks": [3], "preset": "l4", "hbm_gb": 16},
        {"ranks": [1, 3], "inter_bw": 5},
    ]
    path = write(tmp_path / "c.yaml", {**H100, "devices_per_host": 2, "other_devices": other})
    cluster = load_cluster(path)
    devices = cluster.topology().devices
    assert [device.storage.hbm // GIB for device in devices] == [80, 80, 40, 16]
    a100, l4 = load_cluster("a100-40"), load_cluster("l4")
    assert devices[3].storage.ddr == devices[2].storage.ddr == int(a100.ddr_gb * GIB / 2)
    kinds, kind = cluster.kinds()
    each = [kinds[k] for k in kind]
    assert [one.hbm_bw for one in each] == [3350, 3350, a100.hbm_bw, l4.hbm_bw]
    assert [one.inter_bw for one in each] == [50, 5, a100.inter_bw, 5]
    assert len(kinds) == 4
    assert Cluster.model_validate(cluster.model_dump()) == cluster
    (tmp_path / "d.yaml").write_text(cluster_yaml(cluster, []), encoding="utf-8")
    assert load_cluster(str(tmp_path / "d.yaml")) == rounded(cluster)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hbm": 80}, "hbm: no such field; fields: name, hosts"),
        (
            {"other_devices": [{"hosts": [99], "hbm_gb": 40}]},
            "other_devices: no host 99; hosts are 0",
        ),
        ({"other_devices": [{"ranks": [9999], "hbm_gb": 40}]}, "no rank 9999; ranks are 0 to "),
        (
            {"other_devices": [{"ranks": [1], "ddr_gb": 40}]},
            "ddr_gb: this memory is a host's",
        ),
        ({"other_devices": [{"ranks": [1]}]}, "nothing differs; give preset, hbm_gb, hbm_bw"),
        ({"other_devices": [{"hbm_gb": 40}]}, "name hosts or ranks, one of the two"),
        (
            {"other_devices": [{"hosts": [1], "preset": "cpu"}]},
            "other_devices.0: a cpu preset in a cluster of device cuda; TorchRec shards",
        ),
        (
            {"device": None, "other_devices": [{"hosts": [1], "preset": "cpu"}]},
            "device: None: Input should be 'cuda' or 'cpu'",
        ),
        ({"other_devices": [{"hosts": [1], "preset": "h3"}]}, "other_devices.0: no preset 'h3'"),
        ({"other_devices": [{"hosts": [1], "hbm_bw": 0}]}, "other_devices.0.hbm_bw: 0: Input"),
        ({"other_devices": [{"hosts": [1], "intra_bw": 1e7}]}, "other_devices.0.intra_bw: "),
        ({"other_devices": [{"hosts": [1], "tflops": 1}]}, "tflops: no such field; fields: name"),
        ({"other_devices": [{"hosts": [-1], "hbm_bw": 1}]}, "no host -1; hosts are 0 to 1"),
        ({"other_devices": 3}, "other_devices: 3: "),
        ({"hosts": 0}, "hosts: 0: Input should be greater than or equal to 1"),
        ({"hosts": "two"}, "hosts: 'two': Input should be a valid integer"),
        ({"hbm_gb": 0}, "hbm_gb: 0 on a cuda device"),
        ({"hbm_bw": None}, "hbm_bw: None: "),
        ({"inter_bw": -1}, "inter_bw: -1: "),
        ({"inter_bw": float("nan")}, "inter_bw: nan: "),
        ({"device": "tpu"}, "device: 'tpu': Input should be 'cuda' or 'cpu'"),
        ({"device": "cpu"}, "hbm_gb: 80.0 on cpu"),
        ({"devices_per_host": True}, "devices_per_host: true or false where a number is needed"),
        ({"devices_per_host": 2**31}, "devices_per_host: 2147483648: Input should be less than"),
        ({"hosts": 2**63}, "hosts: 9223372036854775808: Input should be less than"),
        ({"hosts": 2049}, "2049 hosts of 8 devices are 16,392 ranks; give at most 16,384"),
        ({"hbm_gb": 1e12}, "hbm_gb: 1000000000000.0: Input should be less than"),
        ({"intra_bw": 1e300}, "intra_bw: 1e+300: Input should be less than"),
        ({"preset": "h1000"}, "no preset 'h1000'; presets: a100-40"),
    ],
)
def test_bad_files_are_rejected_in_a_line(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = write(tmp_path / "c.yaml", {**H100, **change})
    with pytest.raises(ValueError, match=r"^\S*c\.yaml: ") as caught:
        load_cluster(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["h100-8x2", "cpu-2x1"])
def test_a_written_cluster_is_read_back(tmp_path: Path, name: str) -> None:
    small = LookupWeights(ids=1.23456789e-7, rows=0.0)
    costs = Costs(fused=KernelCosts(forward=small, backward=small), dense_bw=1 / 3)
    cluster = load_cluster(name).model_copy(update={"costs": costs, "source": "here: now; # so"})
    path = tmp_path / "c.yaml"
    path.write_text(cluster_yaml(cluster, ["a note: about it"]), encoding="utf-8")
    read = load_cluster(str(path))
    assert read == rounded(cluster)
    assert read.costs is not None
    assert read.costs.fused.forward.ids == pytest.approx(1.23456789e-7, rel=1e-4)
    assert path.read_text(encoding="utf-8").startswith("# a note: about it\n")


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ({"fused": {"forward": {"rows": -1}}}, "costs.fused.forward.rows: -1: "),
        ({"shares": {"all_to_al": 1}}, "costs.shares.all_to_al: no such field"),
        ({"dense_bw": 0}, "costs.dense_bw: 0: "),
    ],
)
def test_bad_costs_are_rejected_in_a_line(tmp_path: Path, costs: object, words: str) -> None:
    path = write(tmp_path / "c.yaml", {"preset": "cpu", "costs": costs})
    with pytest.raises(ValueError, match=r"^\S*c\.yaml: ") as caught:
        load_cluster(path)
    assert words in str(caught.value)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", {k: v for k, v in H100.items() if k != "ddr_gb"})
    with pytest.raises(ValueError, match=r"c\.yaml: ddr_gb: Field required"):
        load_cluster(path)


@pytest.mark.parametrize("text", ["hosts: [", "- 1\n- 2\n", "", "\xff"])
def test_what_is_no_mapping_is_rejected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"c\.yaml: ") as caught:
        load_cluster(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_name_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no preset 'h300'"):
        load_cluster("h300")
    with pytest.raises(ValueError, match="cannot be read"):
        load_cluster(str(tmp_path / "none.yaml"))
