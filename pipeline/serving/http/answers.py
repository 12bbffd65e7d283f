"""Answers, and errors that are answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, content and headers of a response."""

    body: bytes
    status: int = 200
    type: str = JSON
    headers: Headers = field(default_factory=dict)


def json_answer(value: Any, status: int = 200) -> Answer:
    """Return a value as JSON. NaN and infinity, which JSON does not have, become null."""
    return Answer(msgspec.json.encode(value), status)


class HttpError(Exception):
    """A request that cannot be answered.

    `code` is for programs, `message` for people; `field` names the place in the request.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Return the response."""
        error = {"code": self.code, "message": str(self), "field": self.field}
        return Answer(msgspec.json.encode({"error": error}), self.status, JSON, self.headers)


def invalid(message: str, field: str | None = None) -> HttpError:
    """Return the error for a value without meaning: 422."""
    return HttpError(422, "invalid_value", message, field=field)
