"""However the log comes in files and is cut into buckets, the prepared rows are the same."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.prepare.kuairand import prepare_kuairand
from pipeline.data.schema import SPLITS, Schema
from tests.pipeline.data.prepare.small_kuairand import make_log, write_raw
from tests.pipeline.data.prepared import as_set, read, read_all

REAL = Path(
    os.environ.get(
        "HOMEREC_KUAIRAND_RAW",
        Path(__file__).resolve().parents[5] / "shared" / "data" / "kuairand-pure",
    )
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw") / "raw")


@pytest.fixture(scope="module")
def small(raw: Path) -> Path:
    """The small files, prepared with every id in the vocabularies."""
    prepare_kuairand(raw, raw.parent / "small", max_history=4, min_count=1)
    return raw.parent / "small"


def test_several_log_files_are_as_good_as_one(small: Path, tmp_path: Path) -> None:
    log = make_log()
    folder = write_raw(tmp_path / "raw", edition="27k", log=log.head(100))
    log.slice(100, 150).write_csv(folder / "log_standard_4_08_to_4_21_27k_part1.csv")
    log.slice(250).write_csv(folder / "log_standard_4_08_to_4_21_27k_part2.csv")
    videos = pl.read_csv(folder / "video_features_basic_27k.csv")
    videos.head(7).write_csv(folder / "video_features_basic_27k.csv")
    videos.slice(7).write_csv(folder / "video_features_basic_27k_part2.csv")
    prepare_kuairand(folder, tmp_path / "out", max_history=4, min_count=1)
    assert read_all(tmp_path / "out").equals(read_all(small))


def test_many_buckets_hold_the_rows_of_one(small: Path, raw: Path, tmp_path: Path) -> None:
    said: list[tuple[int, int, str]] = []
    schema = prepare_kuairand(
        raw,
        tmp_path / "out",
        max_history=4,
        min_count=1,
        bytes_per_bucket=4_000,
        progress=lambda *step: said.append(step),
    )
    one = Schema.load(small)
    assert as_set(read_all(tmp_path / "out")) == as_set(read_all(small))
    assert schema.tables == one.tables
    for split in SPLITS:
        assert schema.splits[split].positives == one.splits[split].positives
    for many, few in zip(schema.dense, one.dense, strict=True):
        assert many.mean == pytest.approx(few.mean)
        assert many.std == pytest.approx(few.std)
    # Days come in order although buckets are written one after the other.
    days = [file.split("part-")[1][:8] for file in schema.splits["train"].files]
    assert days == sorted(days)
    assert len(set(days)) < len(days)
    total = said[-1][1]
    assert [done for done, _, _ in said] == list(range(1, total + 1))


def test_a_bucket_without_users_is_no_trouble(tmp_path: Path) -> None:
    log = make_log(60).with_columns(user_id=pl.col("user_id") // 2 * 2)
    raw = write_raw(tmp_path / "raw", log=log)
    size = next(raw.glob("log_*")).stat().st_size
    found = []
    for buckets in (1, 2, 4):
        out = tmp_path / f"{buckets}"
        prepare_kuairand(raw, out, min_count=1, bytes_per_bucket=size // buckets + 1)
        # Statistics may differ in their last bit: a logarithm does, by where in memory its row is.
        found.append(as_set(read_all(out).select(pl.exclude("^stat_.*$"))))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == log.height


def test_exact_duplicates_are_dropped(small: Path, tmp_path: Path) -> None:
    log = make_log()
    doubled = pl.concat([log, log.head(50)])
    prepare_kuairand(
        write_raw(tmp_path / "raw", log=doubled), tmp_path / "out", max_history=4, min_count=1
    )
    assert read_all(tmp_path / "out").equals(read_all(small))


def test_the_random_log_is_read_when_asked_for(raw: Path, tmp_path: Path) -> None:
    folder = write_raw(tmp_path / "raw")
    more = make_log(50, seed=1).with_columns(is_rand=1)
    more.write_csv(folder / "log_random_4_22_to_5_08_pure.csv")
    without = prepare_kuairand(folder, tmp_path / "without")
    with_it = prepare_kuairand(folder, tmp_path / "with", with_random=True)
    rows = [sum(s.rows for s in schema.splits.values()) for schema in (without, with_it)]
    assert rows[1] - rows[0] == 50


def test_the_same_input_gives_the_same_bytes(small: Path, raw: Path, tmp_path: Path) -> None:
    prepare_kuairand(raw, tmp_path / "again", max_history=4, min_count=1)
    for file in small.rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(small)).read_bytes()


def test_an_empty_test_split_is_no_fault(raw: Path, tmp_path: Path) -> None:
    schema = prepare_kuairand(raw, tmp_path / "out", test_from=20220506)
    assert schema.splits["test"].rows == 0
    assert schema.splits["test"].files == ()


@pytest.mark.kuairand
@pytest.mark.skipif(not REAL.is_dir(), reason="no KuaiRand-Pure files here")
def test_the_real_slice_has_the_rows_and_rates_it_should(tmp_path: Path) -> None:
    out = tmp_path / "out"
    schema = prepare_kuairand(REAL, out)
    train, val, test = (schema.splits[split] for split in SPLITS)
    assert (train.rows, val.rows, test.rows) == (112_304, 54_977, 0)
    rates = {"click": 0.449, "long_view": 0.316, "finish": 0.165, "comment_enter": 0.044}
    rates |= {"profile_enter": 0.019, "like": 0.0177, "comment": 0.0026, "follow": 0.0013}
    for name, rate in rates.items():
        positives = train.positives[name] + val.positives[name]
        assert positives / 167_281 == pytest.approx(rate, rel=0.04), name
    table = read(out, "train")
    assert table["finish"].null_count() / table.height == pytest.approx(0.016, abs=0.003)
    for feature in schema.sparse:
        codes = table[feature.column]
        codes = codes.explode().drop_nulls() if feature.multi else codes
        assert codes.min() >= 0  # type: ignore[operator]
        assert (codes > 0).any(), feature.name
    for dense in schema.dense:
        assert table[dense.column].is_finite().all()
    assert table["hist_click_video"].list.len().max() <= 30  # type: ignore[operator]
