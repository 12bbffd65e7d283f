"""Implements `homerec init`: reads a sample, writes the configuration, prints what it found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError
from rich.table import Table

from pipeline.config.commented_yaml import flow
from pipeline.config.propose_yaml import Source, proposal_yaml, train_command
from pipeline.data.sources.config import FilesConfig, JoinConfig
from pipeline.data.sources.joined import open_joined
from pipeline.data.sources.sample import sample
from pipeline.data.sources.table import open_table
from pipeline.features.inference.proposal import LeftOut, Proposal, propose
from pipeline.features.inference.wishes import Wishes
from pipeline.io.console import plain_console, print_line
from pipeline.io.errors import UserError
from pipeline.io.files import check_no_other, write_text
from pipeline.io.text_table import text_table

_SHOWN = 40
"""Columns printed at most."""


@dataclass(frozen=True)
class InitOptions:
    """The options of the command line."""

    files: tuple[str, ...]
    labels: str
    user: str | None
    no_user: bool
    time: str | None
    weight: str | None
    split: str | None
    drop: str
    join: tuple[str, ...]
    separator: str | None
    no_header: bool
    rows: int
    out: Path
    overwrite: bool


def run_init(options: InitOptions) -> int:
    """Write the configuration and print a summary. Raises UserError for bad input."""
    _check_out(options.out, options.overwrite)
    source = _source(options)
    proposal = _look(source, options)
    text = proposal_yaml(proposal, source, options.out)
    write_text(options.out, text)
    console = plain_console()
    for part in _views(proposal):
        console.print(part)
    print_line(console, f"written to {options.out}; next: {train_command(options.out)}")
    return 0


def _check_out(out: Path, overwrite: bool) -> None:
    check_no_other(out)
    if not out.parent.is_dir():
        raise UserError(f"{out}: no folder {out.parent}; create it, or give another with --out")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists; give another file with --out, or replace it: --overwrite")


def _source(options: InitOptions) -> Source:
    if not options.files:
        raise UserError("command line: no files; write homerec init FILE ... --labels A,B")
    fields: dict[str, Any] = {"path": options.files}
    if options.separator is not None:
        tab = options.separator in ("tab", "\\t")
        fields["separator"] = "\t" if tab else options.separator
    if options.no_header:
        fields["header"] = False
    try:
        files = FilesConfig(**fields)
    except ValidationError as error:
        raise UserError(
            f"--separator: {options.separator!r}: write one character, or 'tab'"
        ) from error
    joins = [_join(text) for text in options.join]
    return Source(files, joins, Path("data") / options.out.stem)


def _join(text: str) -> JoinConfig:
    path, _, keys = text.rpartition(":")
    if not path or not keys or "/" in keys:
        raise UserError(f"--join: {text!r}: write FILE:KEY, such as users.csv:user_id")
    pairs = dict(
        (left, right or left) for left, _, right in (key.partition("=") for key in keys.split(","))
    )
    plain = all(left == right for left, right in pairs.items())
    return JoinConfig(path=(path,), on=tuple(pairs) if plain else pairs)


def _look(source: Source, options: InitOptions) -> Proposal:
    """Read a sample and propose what its columns mean."""
    table = open_joined(source.files, source.joins)
    rows = sum(chunk.rows for chunk in table.chunks)
    if not rows:
        raise UserError(f"{', '.join(source.files.path)}: no rows; give files with rows")
    keys: dict[str, str] = {}
    for join in source.joins:
        theirs = set(join.keys.values())
        key = next(iter(join.keys))
        keys |= {name: key for name in open_table(join).names if name not in theirs}
    wishes = Wishes(
        labels=_names(options.labels, table.names),
        user=options.user,
        no_user=options.no_user,
        time=options.time,
        weight=options.weight,
        split=options.split,
        drop=_names(options.drop, table.names),
        keys=keys,
        rows=rows,
    )
    unread = [LeftOut(name, why) for name, why in table.faults.items() if name in table.names]
    named = {*wishes.labels, wishes.user, wishes.time, wishes.weight}
    table.require([one.column for one in unread if one.column in named])
    frame = pl.from_arrow(sample(table, options.rows))
    assert isinstance(frame, pl.DataFrame)
    return propose(frame, wishes, unread)


def _names(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """'a,b' -> ('a', 'b'), unless a column is called 'a,b'."""
    if text in known:
        return (text,)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _views(proposal: Proposal) -> Iterator[Table]:
    features = text_table("features", ["name", "type", "group", "found"])
    for one in proposal.features[:_SHOWN]:
        kind = str(one.feature.fields["type"])
        features.add_row(flow(one.name), kind, one.group, one.feature.why)
    _more(features, len(proposal.features))
    yield features
    if proposal.left_out:
        left_out = text_table("left out", ["column", "why"])
        for column in proposal.left_out[:_SHOWN]:
            left_out.add_row(flow(column.column), column.why)
        _more(left_out, len(proposal.left_out))
        yield left_out
    labels = text_table("labels", ["name", "rule", "found"])
    for label in proposal.labels:
        labels.add_row(flow(label.name), flow(label.rule) if label.rule else "is 1", label.why)
    yield labels
    others = text_table(None, ["", "column", ""])
    others.add_row(
        "split", proposal.split.column or "", f"{proposal.split.by}: {proposal.split.why}"
    )
    others.add_row("user", proposal.user or "", proposal.why_user)
    yield others


def _more(view: Table, count: int) -> None:
    if count > _SHOWN:
        view.add_row(f"and {count - _SHOWN:,} more", "see the file")
