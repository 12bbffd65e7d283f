"""What a site always asks of its scheduler: a section of .torchxconfig.

TorchX's own reader knows the options of its own schedulers alone, not those that ours adds, and
looks into the folder in which the process was when TorchX was imported.
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
    """Section [scheduler] of the files, in the types of `options` (TorchX's runopts).

    Files as TorchX finds them: that of TORCHXCONFIG alone if it is set, else the one of this folder
    and, for what that does not say, the one of the home folder.

    Raises UserError for a file that cannot be read, an option that is not known, a value of
    another type.
    """
    from torchx.runner.config import find_configs

    cfg: dict[str, Any] = {}
    for path in find_configs([str(Path.cwd()), str(Path.home())]):
        for name, text in _section(path, scheduler).items():
            if name not in cfg:
                cfg[name] = _typed(f"{path}: [{scheduler}] {name}", options, name, text)
    return cfg


def check_printable(where: str, text: str) -> None:
    """UserError for a control character: a line break would be a line of a scheduler's script."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise UserError(f"{where}: {text!r} has a control character in it; remove it")


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
    if kind is str:  # as it is: it may hold commas
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
