from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, Field

from embeddings.number_types import Place, misplaced_bool


class Left(BaseModel):
    kind: Literal["left"] = "left"
    size: int = 1
    fast: bool = False


class Right(BaseModel):
    kind: Literal["right"] = "right"
    size: bool = False


class Model(BaseModel):
    rows: int
    part: float | None = None
    widths: tuple[Annotated[int, Field(gt=0)], ...] = ()
    pair: float | tuple[float, ...] = 0.0
    weights: Mapping[str, float] = {}
    switch: Annotated[Literal["on", "off"], BeforeValidator(str)] = "on"
    flag: bool = False
    either: int | bool = 0
    side: Left | Right = Left()
    sides: tuple[Left, ...] = ()
    by_name: Mapping[str, Left] = {}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"rows": True}, ("rows",)),
        ({"rows": 1, "part": False}, ("part",)),
        ({"widths": [1, True]}, ("widths", 1)),
        ({"pair": True}, ("pair",)),
        ({"pair": [1.0, True]}, ("pair", 1)),
        ({"weights": {"click": True}}, ("weights", "click")),
        ({"sides": [{"size": 1}, {"size": True}]}, ("sides", 1, "size")),
        ({"by_name": {"a": {"size": True}}}, ("by_name", "a", "size")),
        ({"rows": 1, "flag": True, "either": True, "switch": True}, None),
        ({"side": {"kind": "right", "size": True}}, None),
        ({"sides": [{"fast": True}], "by_name": {"b": {"fast": False}}}, None),
        ({"switch": {"deep": True}, "rows": [[True]]}, None),
        ({"unknown": True, "rows": {"deep": True}, "widths": True}, None),  # pydantic says what
    ],
)
def test_true_and_false_are_no_numbers(value: dict[str, Any], place: Place | None) -> None:
    assert misplaced_bool(Model, value) == place
