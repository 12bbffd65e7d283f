"""Writes what a table's columns mean as a commented configuration, ready to train."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.config.commented_yaml import Commented, Section, flow, write_yaml
from pipeline.config.overrides import resolve
from pipeline.config.tree import Config
from pipeline.data.sources.config import FilesConfig, JoinConfig
from pipeline.features.inference.proposal import GROUPS, NamedFeature, Proposal

RECIPE = "auto"
"""Recipe of a new configuration."""


@dataclass(frozen=True)
class Source:
    """Where a table is."""

    files: FilesConfig
    joins: Sequence[JoinConfig]
    prepared: Path
    """Folder of the prepared copy."""


def proposal_yaml(proposal: Proposal, source: Source, out: Path) -> str:
    """Return the text of the configuration file `out`, which `resolve` accepts."""
    text = write_yaml(
        Section(
            [
                *_head(proposal, out),
                ("recipe", RECIPE),
                ("data", Section(list(_data(proposal, source)))),
                ("features", Section(list(_features(proposal)))),
            ]
        )
    )
    check_yaml(text, out.name)
    return text


def check_yaml(text: str, name: str) -> Config:
    """Load the text like a configuration file. Raises UserError if it is none."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        return resolve(None, path, ())


def train_command(out: Path) -> str:
    """Return the command that trains a configuration file."""
    return f"homerec train --config {shlex.quote(str(out))}"


def _head(proposal: Proposal, out: Path) -> Iterator[str]:
    yield f"Proposed by 'homerec init' from {proposal.rows:,} of {proposal.total_rows:,} rows."
    yield "Comments show what was found there. Change what you know better, then train:"
    yield f"    {train_command(out)}"


def _data(proposal: Proposal, source: Source) -> Iterator[tuple[str, Any] | str]:
    yield "path", Commented(str(source.prepared), "prepared copy, written by the first training")
    yield "source", _written(source.files)
    if source.joins:
        yield "join", [_written(join) for join in source.joins]
    yield "split", Commented(proposal.split.fields, proposal.split.why)
    if proposal.user is None:
        yield f"user: {proposal.why_user}"
    else:
        yield "user", Commented(proposal.user, proposal.why_user)
    if proposal.time is not None:
        yield "time", proposal.time
    if proposal.weight is not None:
        yield "weight", Commented(proposal.weight, "weight of a row in loss and metrics")
    labels: list[tuple[str, Any] | str] = []
    if len(proposal.labels) > 1:
        labels.append("One category; labels of one kind of action may share another one.")
    for label in proposal.labels:
        fields = {"column": label.column} if label.column != label.name else {}
        entry = {**fields, "category": "all", **label.rule}
        labels.append((label.name, Commented(entry, label.why)))
    yield "labels", Section(labels)


def _written(files: FilesConfig) -> dict[str, Any]:
    """The fields that are set; one path without list."""
    fields = files.model_dump(mode="json", exclude_unset=True)
    for name in ("path", "on"):
        if isinstance(fields.get(name), list) and len(fields[name]) == 1:
            fields[name] = fields[name][0]
    return fields


def _features(proposal: Proposal) -> Iterator[tuple[str, Any] | str]:
    for group in GROUPS:
        ours = [one for one in proposal.features if one.group == group]
        if ours:
            yield f"{group.capitalize()}:"
        for one in ours:
            yield one.name, Commented(_fields(one), one.feature.why)
    if proposal.left_out:
        yield "Left out:"
    for column in proposal.left_out:
        if not column.features:
            yield f"{flow(column.column)}: {column.why}"
        for one in column.features:
            yield f"{flow(one.name)}: {flow(_fields(one))}  # {column.why}"


def _fields(one: NamedFeature) -> Mapping[str, Any]:
    fields = dict(one.feature.fields)
    first = {"type": fields.pop("type"), "group": one.group}
    if one.column != one.name:
        fields = {"column": one.column, **fields}
    return first | fields
