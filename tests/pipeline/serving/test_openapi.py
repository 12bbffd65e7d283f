"""The OpenAPI document is true: schemathesis finds no answer that it does not describe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import ignored_auth, positive_data_acceptance

from pipeline.serving.http.app import Route
from pipeline.serving.http.keys import read_keys
from pipeline.serving.http.routes import ROUTES
from tests.pipeline.serving.client import Client, running

_ADMIN = {"authorization": f"Bearer {'a' * 16}"}
# A column may be given in three places, and a value of the right type have no meaning. The key is
# in every request that this test sends, also where one without it is meant: see test_limits.py.
_EXCLUDED = [positive_data_acceptance, ignored_auth]


@pytest.fixture(scope="module")
def server(model_folder: Path) -> Iterator[Client]:
    with running(model_folder, read_keys(None, {"HOMEREC_KEYS": f"a admin {'a' * 16}"})) as client:
        yield client


@pytest.fixture(scope="module")
def operations(server: Client) -> dict[str, Any]:
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json").json)
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_every_route_is_described(operations: dict[str, Any]) -> None:
    assert set(operations) == {_name(route) for route in ROUTES}


@pytest.mark.parametrize(
    ("route", "mode"),
    [
        pytest.param(route, mode, id=f"{_name(route)} {mode.value}")
        for route in ROUTES
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if route.body is not None or mode is GenerationMode.POSITIVE
    ],
)
def test_answers_are_as_described(
    server: Client, operations: dict[str, Any], route: Route, mode: GenerationMode
) -> None:
    @settings(
        max_examples=6 if route.body else 2,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations[_name(route)].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        url = f"http://127.0.0.1:{server.port}"
        case.call_and_validate(base_url=url, headers=_ADMIN, excluded_checks=_EXCLUDED)

    check()
