"""What model.attention names is checked against the data, in one line."""

from __future__ import annotations

import re

import pytest

from embeddings.config import EmbeddingsConfig
from models.layers.config import AttentionConfig
from pipeline.config.data import DataConfig
from pipeline.config.overrides import resolve
from pipeline.config.sections import ModelConfig
from pipeline.config.tree import Config
from pipeline.io.errors import UserError
from pipeline.training.resolve_features import resolve_features
from tests.integration.sharding.test_sharding import SCHEMA

BAD = [
    ({"histry": "item"}, "events.seen.histry: 'histry' is not an id feature; .*'history'"),
    ({"history": "itm"}, "events.seen.history: 'itm' is not an id feature; .*'item'"),
    ({"history": "age"}, "'age' is not an id feature"),
    ({"item": "item"}, "'item' is single-valued; a history must be multi-valued; known: history"),
    ({"history": "history"}, "'history' is multi-valued; a candidate must be single-valued"),
    ({"history": "user"}, "'user' is of table 'user', the history of 'item'; .*known: item"),
]


def config(pairs: dict[str, str], **sections: object) -> Config:
    attention = AttentionConfig(events={"seen": pairs})
    return Config.model_validate(
        {"recipe": "debug", "model": ModelConfig(attention=attention), **sections}
    )


@pytest.mark.parametrize(("pairs", "message"), BAD)
def test_names_that_do_not_fit_are_rejected(pairs: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_features(config(pairs), SCHEMA)
    assert re.search(message, str(caught.value)), caught.value
    assert str(caught.value).startswith("model.attention.events.seen.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left_out", ["history", "item"])
def test_a_feature_left_out_is_named_so(left_out: str) -> None:
    with pytest.raises(UserError, match=f"'{left_out}' is excluded by data.features or data.excl"):
        resolve_features(config({"history": "item"}, data=DataConfig(exclude=(left_out,))), SCHEMA)


def test_a_bag_with_weights_cannot_share_an_attended_table() -> None:
    bag = SCHEMA.sparse[2].model_copy(update={"name": "bag", "weights": "w"})
    schema = SCHEMA.model_copy(update={"sparse": (*SCHEMA.sparse, bag)})
    assert resolve_features(Config(recipe="debug"), schema).has_weighted_bags
    with pytest.raises(UserError, match=r"model\.attention: feature 'bag' has weights, and rows"):
        resolve_features(config({"history": "item"}), schema)
    left_out = config({"history": "item"}, data=DataConfig(exclude=("bag",)))
    assert not resolve_features(left_out, schema).has_weighted_bags


def test_tables_of_different_widths_are_rejected() -> None:
    sparse = [*SCHEMA.sparse, SCHEMA.sparse[2].model_copy(update={"name": "tabs", "table": "tab"})]
    schema = SCHEMA.model_copy(update={"sparse": tuple(sparse)})
    run = config({"history": "item", "tabs": "tab"}, embeddings=EmbeddingsConfig(small_rows=10))
    with pytest.raises(UserError, match=r"differ in width \(item 16, tab 8\).*NAME.dim"):
        resolve_features(run, schema)
    even = run.model_copy(update={"embeddings": EmbeddingsConfig(small_rows=0)})
    assert {t.name: t.unpooled for t in resolve_features(even, schema).tables} == {
        "item": True,
        "user": False,
        "tab": True,
    }


def test_width_of_the_towers_input() -> None:
    """[sum, sum * candidate] a history, instead of its bag or beside it."""
    plain = resolve_features(Config(recipe="debug"), SCHEMA)
    run = config({"history": "item"})
    dim = {table.name: table.dim for table in plain.tables}["item"]
    assert resolve_features(run, SCHEMA).num_features == plain.num_features + dim
    attention = run.model.attention.model_copy(update={"bags": True})
    beside = run.model_copy(update={"model": ModelConfig(attention=attention)})
    assert resolve_features(beside, SCHEMA).num_features == plain.num_features + 2 * dim


def test_a_command_line_can_say_it() -> None:
    words = ["--model.attention.events.seen.history", "item", "--model.attention.bags", "true"]
    attention = resolve("debug", None, words).model.attention
    assert attention == AttentionConfig(events={"seen": {"history": "item"}}, bags=True)
