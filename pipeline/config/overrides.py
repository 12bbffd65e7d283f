"""Merges recipe, YAML file and `--section.field value` options into a configuration."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_origin

from pipeline.config.auto import override
from pipeline.config.fields import fields, type_name, value_name
from pipeline.config.recipes import recipe
from pipeline.config.renamed import renamed
from pipeline.config.tree import Config, Tree, build
from pipeline.config.yaml_file import read_yaml
from pipeline.io.errors import UserError, nearest
from pipeline.io.set_aside import standing


def resolve(name: str | None, config: Path | None, overrides: Sequence[str]) -> Config:
    """Merge recipe, YAML and command line; later ones override earlier ones.

    A YAML file may name its recipe (`recipe: demo`); the command line overrides it. Raises
    UserError for invalid input.
    """
    given = parse(overrides)
    tree = read_yaml(config) if config else {}
    start = recipe(name or str(tree.get("recipe", "demo")))
    tree.pop("recipe", None)
    base = start.model_dump(mode="json")
    if tree:
        base = override(base, tree)
        build(base, where=str(config))  # so that an error in the file names the file
    return build(override(base, given), where="command line")


def configure(
    name: str | None,
    config: Path | None,
    out: Path | None,
    overrides: Sequence[str],
    *,
    resume: bool,
    must_exist: bool,
) -> tuple[Config, Path]:
    """Return the configuration and folder of a run: the saved tree of a resumed run, or a new one.

    Raises UserError if the run to resume `must_exist` and does not.
    """
    folder = out or default_folder(name, config)
    saved = standing(folder) / "config.json"
    if resume and saved.exists():
        return amend(Config.load(saved), name, config, overrides), folder
    if must_exist:
        raise UserError(
            f"{folder}: no run to resume (no config.json); give its folder with --out, or start a "
            "new run without --resume"
        )
    return resolve(name, config, overrides), folder


def default_folder(name: str | None, config: Path | None) -> Path:
    """Return the default folder for a recipe, which the YAML file may name."""
    tree = read_yaml(config) if config else {}
    return Path("runs") / (name or str(tree.get("recipe", "demo")))


def amend(saved: Config, name: str | None, config: Path | None, overrides: Sequence[str]) -> Config:
    """Return a saved configuration with changes. Raises UserError for another recipe."""
    over = read_yaml(config) if config else {}
    for other in (name, over.pop("recipe", None)):
        if other and other != saved.recipe:
            raise UserError(
                f"recipe: {other!r}: the run to resume uses recipe {saved.recipe!r}; omit the "
                "recipe, or start a new run in another folder"
            )
    tree = saved.model_dump(mode="json")
    if over:
        tree = override(tree, over)
        build(tree, where=str(config))
    return build(override(tree, parse(overrides)), where="command line")


def parse(words: Sequence[str]) -> Tree:
    """['--train.epochs', '2'] -> {'train': {'epochs': '2'}}. `build` converts the values."""
    known = {field.name: field.annotation for field in fields(Config)}
    tree: Tree = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise UserError(f"command line: {word!r} is not an option; write --section.field VALUE")
        name, equals, value = word[2:].partition("=")
        if "." not in name:
            raise UserError(f"command line: unknown option {word!r}; see --help")
        if not equals:
            if not rest or _is_field(rest[0]):
                raise UserError(f"command line: {word} needs a value")
            value = rest.pop(0)
        if new := renamed(name):
            raise UserError(f"command line: {name}: renamed to {new}")
        if name.split(".")[0] not in {leaf.split(".")[0] for leaf in known}:
            raise UserError(f"command line: unknown field {name!r}; {_hint(name, list(known))}")
        node = tree
        *sections, leaf = name.split(".")
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise UserError(f"command line: {word}: {section!r} already has a value")
        if isinstance(node.get(leaf), dict):
            raise UserError(f"command line: {word}: already has entries")
        node[leaf] = _listed(value) if get_origin(known.get(name)) is tuple else value
    return tree


def _hint(name: str, known: list[str]) -> str:
    """Suggest the nearest field, or list all sections, because a list of all fields is too long."""
    hint = nearest(name, known)
    sections = list(dict.fromkeys(field.split(".")[0] for field in known if "." in field))
    return hint if hint.startswith("did you mean") else f"sections: {', '.join(sections)}"


def _is_field(word: str) -> bool:
    return word.startswith("--") and "." in word


def _listed(value: str) -> list[Any]:
    """'a,b' -> ['a', 'b']; '' -> []."""
    return [part.strip() for part in value.strip("[]()").split(",") if part.strip()]


def field_help() -> str:
    """Describe every field with its values and default, for --help."""
    width = max(40, shutil.get_terminal_size().columns - 2)
    lines = ["configuration fields (as --section.field VALUE):"]
    for field in fields(Config):
        if "." not in field.name:  # the recipe is a separate argument
            continue
        default = value_name(field.default)
        values = type_name(field.annotation, field.constraints)
        text = f"{field.help} ({values}{default and f'; default: {default}'})"
        lines.append(f"  --{field.name}")
        lines += textwrap.wrap(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)
