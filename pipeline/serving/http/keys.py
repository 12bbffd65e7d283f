"""Who may use a server: bearer tokens, their roles and rates.

A file, or the variable HOMEREC_KEYS, has a key per line: NAME ROLE TOKEN [REQUESTS_PER_SECOND].
Roles: 'rank' asks for rankings and reads; 'admin' also changes formula, model and store.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.io.errors import UserError
from pipeline.io.files import read_text
from pipeline.serving.http.answers import HttpError

VARIABLE = "HOMEREC_KEYS"
Role = Literal["rank", "admin"]
_SHORTEST = 16


@dataclass(slots=True)
class Key:
    """A key, and what is left of its rate."""

    name: str
    role: Role
    digest: bytes
    """SHA-256 of the token."""
    per_second: float | None = None
    """Requests per second, on average; None: any number. As many may come at once."""
    _left: float = field(default=0.0, repr=False)
    _seen: float = field(default=-1e9, repr=False)

    def take(self, now: float) -> float:
        """Count a request; returns the seconds to wait if it is one too many, else 0."""
        if self.per_second is None:
            return 0.0
        burst = max(1.0, self.per_second)
        self._left = min(burst, self._left + (now - self._seen) * self.per_second)
        self._seen = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self.per_second


class Keys:
    """The keys of a server. Without any, rankings are open to all and nothing can be changed."""

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = tuple(keys)
        self._clock = clock

    def __bool__(self) -> bool:
        return bool(self._keys)

    def check(self, authorization: str | None, role: Role) -> None:
        """Raise HttpError 401, 403 or 429 unless the header has a key of this role."""
        if not self._keys:
            if role == "admin":
                raise HttpError(
                    403, "no_admin_key", "this server has no admin key; start it with --keys"
                )
            return
        key = self._find(authorization)
        if key is None:
            raise HttpError(
                401,
                "unauthorized",
                "send a key as 'Authorization: Bearer TOKEN'",
                headers={"www-authenticate": "Bearer"},
            )
        if role == "admin" and key.role != "admin":
            raise HttpError(403, "forbidden", f"key {key.name!r} has the role 'rank', not 'admin'")
        if (wait := key.take(self._clock())) > 0:
            raise HttpError(
                429,
                "rate_limit",
                f"key {key.name!r} may send {key.per_second:g} requests per second",
                headers={"retry-after": str(max(1, round(wait)))},
            )

    def _find(self, authorization: str | None) -> Key | None:
        """Compare with every key, in a time that does not depend on the token."""
        scheme, _, token = (authorization or "").partition(" ")
        given = hashlib.sha256(token.strip().encode()).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(given, key.digest) and scheme.lower() == "bearer":
                found = key
        return found


def read_keys(path: Path | None, environ: Mapping[str, str] = os.environ) -> Keys:
    """Read keys from a file, or else from HOMEREC_KEYS.

    Raises UserError, naming the line, for anything else than a key.
    """
    if path is not None:
        return _parsed(read_text(path, remedy="give a file of keys"), str(path))
    return _parsed(environ.get(VARIABLE, ""), VARIABLE)


def _parsed(text: str, where: str) -> Keys:
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = _key(words, f"{where}: line {number}")
        if any(key.name == other.name or key.digest == other.digest for other in keys):
            raise UserError(f"{where}: line {number}: repeats a name or a token; remove one")
        keys.append(key)
    return Keys(keys)


def _key(words: Sequence[str], where: str) -> Key:
    shape = "write NAME ROLE TOKEN [REQUESTS_PER_SECOND]"
    if len(words) not in (3, 4):
        raise UserError(f"{where}: has {len(words)} words; {shape}")
    name, role, token = words[:3]
    if role not in ("rank", "admin"):
        raise UserError(f"{where}: {role!r} is no role; 'rank' or 'admin'")
    if len(token) < _SHORTEST:
        raise UserError(f"{where}: the token of {name!r} is shorter than {_SHORTEST} characters")
    rate = None
    if len(words) == 4:
        try:
            rate = float(words[3])
        except ValueError:
            rate = 0.0
        if not 0 < rate < float("inf"):
            raise UserError(f"{where}: {words[3]!r} is no number of requests per second; {shape}")
    digest = hashlib.sha256(token.encode()).digest()
    return Key(name, "admin" if role == "admin" else "rank", digest, rate)
