"""Finds the files that paths, folders and patterns stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa

from pipeline.data.sources.config import FilesConfig
from pipeline.data.sources.delta import LOG, delta_files
from pipeline.data.sources.files import SourceFile, first_line
from pipeline.data.sources.partitions import partitions_of
from pipeline.data.sources.stores import Entry, Store, open_store
from pipeline.io.errors import UserError

_WILDCARD = re.compile(r"[*?[]")


def resolve(files: FilesConfig, *, may_be_empty: bool = False) -> tuple[SourceFile, ...]:
    """Return the files of a table, in row order.

    Order: that of `files.path`; the files of one pattern or folder by the code points of their
    whole path. Within folders and patterns, files and folders whose names start with '.' or '_'
    are ignored, like Spark and Hive do. A pattern may contain *, ?, [abc] and, for any number of
    folders, **. Raises UserError if a path has no file (unless it `may_be_empty`) or a file is
    found twice.
    """
    found: dict[str, SourceFile] = {}
    for address in files.path:
        store, prefix, path = open_store(address)
        try:
            matches = sorted(
                _matches(store, prefix, path, files.format), key=lambda file: file.name
            )
            is_there = bool(matches) or store.info(_stripped(path)) is not None
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{address}: cannot be listed ({first_line(error)}); check the address and the "
                "permissions"
            ) from error
        if not matches and not may_be_empty:
            what = "no file matches" if _WILDCARD.search(path) else "no such file or folder"
            raise UserError(
                f"{address}: {'the folder has no files' if is_there else what}; check the path"
            )
        for file in matches:
            if file.name in found:
                raise UserError(
                    f"{address}: {file.name} is already part of the table; name each file once"
                )
            found[file.name] = file
    return tuple(found.values())


def _matches(store: Store, prefix: str, path: str, format: str) -> Iterator[SourceFile]:
    if _WILDCARD.search(path) and store.info(path) is None:
        entries = _expand(store, *_fixed(path))
    else:
        entry = store.info(_stripped(path))
        entries = iter([] if entry is None else [(path, entry)])
    for place, entry in entries:
        if not entry.is_folder:
            yield _file(store, prefix, place, entry.size)
            continue
        folder = place.rstrip("/")
        has_log = format in ("auto", "delta") and store.info(f"{folder}/{LOG}") is not None
        if has_log or format == "delta":
            yield from delta_files(store, prefix, folder)
            continue
        for inner in store.walk(folder or "/"):
            if not any(map(_is_hidden, inner.path.split("/"))):
                yield _file(store, prefix, f"{folder}/{inner.path}", inner.size)


def _file(store: Store, prefix: str, path: str, size: int) -> SourceFile:
    return SourceFile(prefix + path, size, store, path, partitions_of(path))


def _fixed(path: str) -> tuple[str, list[str]]:
    """Split a pattern into the folder before the first wildcard and the components behind it."""
    parts = re.sub("/+", "/", path).split("/")
    first = next(index for index, part in enumerate(parts) if _WILDCARD.search(part))
    return "/".join(parts[:first]) + "/" * (first > 0), [part for part in parts[first:] if part]


def _expand(store: Store, folder: str, parts: list[str]) -> Iterator[tuple[str, Entry]]:
    """Return the files and folders that match; `folder` is empty or ends with '/'."""
    part, rest = parts[0], parts[1:]
    if not _WILDCARD.search(part):
        entry = store.info(folder + part)
        if entry is not None and not rest:
            yield folder + part, entry
        elif entry is not None and entry.is_folder:
            yield from _expand(store, f"{folder}{part}/", rest)
        return
    place = store.info(_stripped(folder)) if folder else None
    if folder and (place is None or not place.is_folder):
        return
    if "**" in parts:
        pattern = _compiled(parts)
        for entry in store.walk(folder):
            hidden = any(map(_is_hidden, entry.path.split("/")))
            if pattern.fullmatch(entry.path) and not hidden:
                yield folder + entry.path, entry
        return
    pattern = _compiled([part])
    for entry in store.children(folder):
        if _is_hidden(entry.path) or not pattern.fullmatch(entry.path):
            continue
        if not rest:
            yield folder + entry.path, entry
        elif entry.is_folder:
            yield from _expand(store, f"{folder}{entry.path}/", rest)


def _compiled(parts: list[str]) -> re.Pattern[str]:
    """Return the expression for components, of which '**' stands for any number of folders."""
    expression = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            expression += ".*" if last else "(?:[^/]+/)*"
        else:
            expression += _component(part) + ("" if last else "/")
    return re.compile(expression, re.DOTALL)


def _component(part: str) -> str:
    expression = ""
    for token in re.findall(r"\*+|\?|\[!?[^]]+\]|.", part, re.DOTALL):
        if token[0] == "*":
            expression += "[^/]*"
        elif token == "?":
            expression += "[^/]"
        elif token[0] == "[" and len(token) > 1:
            negated = token[1] in "!^"
            characters = re.escape(token[1 + negated : -1]).replace(r"\-", "-")
            expression += ("[^/" if negated else "[") + characters + "]"
        else:
            expression += re.escape(token)
    return expression


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _stripped(path: str) -> str:
    return path.rstrip("/") or "/"
