"""Builds commands from typed functions.

A command is a function. Its annotations are the types of the options; its docstring, and those of
option fields, are their help. `overrides` receives the configuration fields of the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import UnknownOptionError
from cyclopts.validators import Number

from pipeline.io.errors import UserError

Natural = Annotated[int, Parameter(validator=Number(gte=0, lte=2**31 - 1))]
Positive = Annotated[int, Parameter(validator=Number(gte=1, lte=2**31 - 1))]
FLAT = Parameter(name="*")
"""Makes the fields of a dataclass options of the command."""
Overrides = Annotated[Sequence[str], Parameter(parse=False)]
"""`--section.field value` words of the command line."""

_REMOVED = {"--recipe": "--recipe: the recipe is an argument now: 'homerec compare RECIPE ...'"}
"""Options of older versions that cyclopts would mistake for others."""


def new_app(name: str, summary: str | None = None) -> App:
    """Return an App for a command or a group of commands, without its functions."""
    default = Parameter(negative=(), show_default=_shown, allow_repeating=True)
    return App(
        name,
        help=summary,
        help_format="markdown",  # which joins the lines of a docstring
        version_flags=[],
        result_action="return_value",
        default_parameter=default,
    )


def list_help_option(app: App) -> None:
    """List --help under Parameters for a command and its subcommands.

    cyclopts lists it under Commands, and omits it for subcommands.
    """
    for name in app:
        if name in app.help_flags:
            app[name].show = True
            app[name].group = "Parameters"
        else:
            list_help_option(app[name])


def _shown(default: Any) -> str | None:
    """Format a default for the help; empty for options that are off or unset."""
    off = default is None or default is False or default in ("", ())
    return None if off else str(default)


def call(app: App, words: Sequence[str], overrides: Sequence[str] = ()) -> int:
    """Run the command that `words` name; returns its exit code. Raises UserError for bad input."""
    try:
        command, bound, hidden = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        option = error.token.value if isinstance(error, UnknownOptionError) else ""
        text = _REMOVED.get(option) or " ".join(str(error).split())
        raise UserError(f"command line: {text}") from error
    if command == app.help_print and {"-h", "--help"}.isdisjoint(words):
        known = ", ".join(name for name in app if not name.startswith("-"))
        raise UserError(f"command line: no command after '{' '.join(app.name)}'; known: {known}")
    if overrides and "overrides" not in hidden:
        raise UserError(f"command line: unknown option {overrides[0]!r}; see --help")
    extra = {"overrides": overrides} if "overrides" in hidden else {}
    return int(command(*bound.args, **bound.kwargs, **extra) or 0)
