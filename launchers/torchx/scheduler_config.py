"""Reads the scheduler options of a site from .torchxconfig.

TorchX's reader supports only the options of its own schedulers, not those that ours adds, and reads
the folder that was the working directory when TorchX was imported.
"""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

from pipeline.io.errors import UserError, nearest
from pipeline.io.files import read_text

FILE = ".torchxconfig"


def configured(scheduler: str, options: Any) -> dict[str, Any]:
    """Return the section [scheduler] of the files, with the types of `options` (TorchX's runopts).

    The files are those of TorchX: only the one named by TORCHXCONFIG if it is set, else the one in
    this folder, which overrides the one in the home folder.

    Raises UserError for an unreadable file, an unknown option, or a value of the wrong type.
    """
    from torchx.runner.config import find_configs

    cfg: dict[str, Any] = {}
    for path in find_configs([str(Path.cwd()), str(Path.home())]):
        for name, text in _section(path, scheduler).items():
            if name not in cfg:
                cfg[name] = _typed(f"{path}: [{scheduler}] {name}", options, name, text)
    return cfg


def check_printable(where: str, text: str) -> None:
    """Raise UserError for a control character: a line break would alter a scheduler's script."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise UserError(f"{where}: {text!r} contains a control character; remove it")


def _section(path: str, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(read_text(Path(path), remedy="save it as UTF-8"))
        return dict(parser.items(name)) if parser.has_section(name) else {}
    except configparser.Error as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def _typed(where: str, options: Any, name: str, text: str) -> Any:
    check_printable(where, text)
    known = {known: option for known, option in options}
    if name not in known:
        raise UserError(f"{where}: no such option; {nearest(name, list(known))}")
    if text == "None":
        return None
    kind = known[name].opt_type
    if kind is str:  # unchanged: it may contain commas
        return text
    if kind is bool:
        states = configparser.ConfigParser.BOOLEAN_STATES
        if text.lower() not in states:
            raise UserError(f"{where} = {text!r}: write true or false")
        return states[text.lower()]
    try:
        return options.cfg_from_str(f"{name}={text}")[name]
    except ValueError as error:
        raise UserError(f"{where} = {text!r}: {error}") from error
