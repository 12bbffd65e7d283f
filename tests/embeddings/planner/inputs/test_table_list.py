"""Lists of tables: what they build, and what they reject."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from torch.optim import Adam
from torchrec.modules.embedding_modules import EmbeddingBagCollection, EmbeddingCollection
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from embeddings.planner.inputs.table_list import ListedTable, build_module, load_tables, usage


def test_a_file_becomes_collections_on_meta(tmp_path: Path) -> None:
    path = tmp_path / "tables.yaml"
    rows = [
        {"name": "user", "rows": 1_000_000, "dim": 64, "features": ["user", "friend"],
         "pooling_factor": [1, 20.5]},
        {"name": "item", "rows": 5000, "dim": 16, "dtype": "fp16", "optimizer": "adam"},
        {"name": "words", "rows": 100, "dim": 8, "weighted": True},
        {"name": "history", "rows": 100, "dim": 8, "unpooled": True, "pooling_factor": 50},
        {"name": "other", "rows": 100, "dim": 4, "unpooled": True},
    ]  # fmt: skip
    path.write_text(yaml.safe_dump({"tables": rows}), encoding="utf-8")
    tables = load_tables(path)
    module = build_module(tables)
    children = dict(module.named_children())
    assert {name: type(child) for name, child in children.items()} == {
        "bags": EmbeddingBagCollection,
        "weighted_bags": EmbeddingBagCollection,
        "rows_4": EmbeddingCollection,
        "rows_8": EmbeddingCollection,
    }
    parameters = {name.split(".")[-2]: p for name, p in module.named_parameters()}
    assert {name: tuple(p.shape) for name, p in parameters.items()} == {
        row["name"]: (row["rows"], row["dim"]) for row in rows
    }
    assert all(p.is_meta for p in parameters.values())
    assert parameters["item"].element_size() == 2
    assert parameters["item"]._optimizer_classes == [Adam]  # type: ignore[attr-defined]
    assert parameters["user"]._optimizer_classes == [RowWiseAdagrad]  # type: ignore[attr-defined]
    assert usage(tables)["user"].pooling_factors == [1.0, 20.5]
    assert usage(tables)["user"].num_poolings == [1.0, 1.0]
    assert usage(tables)["words"].is_weighted


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"rows": 0}, "table 'b': rows: 0: Input should be greater than or equal to 1"),
        ({"dim": 6}, "table 'b': dim: 6: Input should be a multiple of 4"),
        ({"dtype": "int8"}, "table 'b': dtype: 'int8': "),
        ({"optimzer": "sgd"}, "table 'b': optimzer: no such field; fields: name, rows"),
        ({"pooling_factor": [1, 2]}, "table 'b': pooling_factor: 2 values for 1 features"),
        ({"pooling_factor": 0}, "table 'b': pooling_factor: 0.0: give a mean above 0"),
        ({"weighted": True, "unpooled": True}, "table 'b': weighted: "),
        ({"name": "a"}, "table 'a' is listed twice"),
        ({"name": "a.b"}, "name: 'a.b' is no name: "),
        ({"name": "items"}, "name: a table cannot be called 'items'"),
        ({"features": ["x", "y z"]}, "table 'b': features: 'y z' is no name: "),
        ({"rows": True}, "table 'b': rows: true or false where a number is needed"),
        ({"pooling_factor": [True]}, "table 'b': pooling_factor.0: true or false"),
        ({"rows": 2**40 + 1}, "table 'b': rows: 1099511627777: Input should be less than"),
        ({"rows": 2**63}, "table 'b': rows: 9223372036854775808: Input should be less than"),
        ({"dim": 2**31}, "table 'b': dim: 2147483648: Input should be less than"),
        ({"rows": 2**40, "dim": 64}, "table 'b': rows: 1,099,511,627,776 of 64 numbers are more"),
        ({"num_poolings": 1e300}, "table 'b': num_poolings: 1e+300: give a mean above 0, up to"),
        ({"dtype": "x" * 10_000}, "xxx...: Input should be 'fp32', 'fp16' or 'bf16'"),
    ],
)
def test_bad_tables_are_rejected_in_a_line(
    tmp_path: Path, row: dict[str, object], words: str
) -> None:
    path = tmp_path / "tables.yaml"
    good = {"name": "a", "rows": 10, "dim": 4}
    path.write_text(
        yaml.safe_dump({"tables": [good, {"name": "b", "rows": 10, "dim": 4, **row}]}),
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match=r"tables\.yaml: ") as caught:
        load_tables(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400


def test_a_file_without_tables_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "tables.yaml"
    path.write_text("tables: []\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"tables\.yaml: tables: "):
        load_tables(path)
    path.write_text("rows: 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"tables\.yaml: "):
        load_tables(path)


def test_a_table_without_features_is_looked_up_by_its_name() -> None:
    assert ListedTable(name="t", rows=1, dim=4).feature_names == ("t",)
