"""One HTTP request: its headers, and its body within limits of size and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from pipeline.serving.http.answers import JSON, HttpError
from pipeline.serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request of Granian's RSGI."""

    scope: Any
    protocol: Any
    settings: Settings

    def header(self, name: str) -> str | None:
        """Return a header; names are in lower case."""
        found: str | None = self.scope.headers.get(name)
        return found

    @property
    def content_type(self) -> str:
        """Type of the body, without parameters."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def require_type(self, *types: str) -> str:
        """Return the type of the body. Raises HttpError 415 if it is another."""
        if self.content_type not in types:
            raise HttpError(
                415,
                "unsupported_media_type",
                f"content-type {self.content_type!r} is not read; send {' or '.join(types)}",
            )
        return self.content_type

    async def json_body(self) -> bytes:
        """Return the body of a JSON request."""
        self.require_type(JSON)
        return await self.body()

    async def body(self) -> bytes:
        """Return the body. Raises HttpError 413 or 408 if it is too large or too slow."""
        most = self.settings.max_body_bytes
        declared = self.header("content-length")
        if declared is not None and declared.isdigit() and int(declared) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.settings.read_timeout_ms / 1000):
                async for part in self.protocol:
                    size += len(part)
                    if size > most:
                        raise _too_large(most)
                    parts.append(part)
        except TimeoutError as error:
            raise HttpError(
                408,
                "slow_body",
                f"the body took more than {self.settings.read_timeout_ms} ms",
                headers={"connection": "close"},
            ) from error
        return b"".join(parts)


def _too_large(most: int) -> HttpError:
    return HttpError(
        413,
        "body_too_large",
        f"the body is larger than {most:,} bytes; send fewer candidates, or columns instead",
        headers={"connection": "close"},
    )
