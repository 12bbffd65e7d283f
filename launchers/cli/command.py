"""What all commands share: how a typed function is read from a command line.

A command is a function; its annotations are the types, its docstring and those of option fields the
help. Names that the function takes as `overrides` are the fields of a run on the command line.
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
"""Fields of a dataclass are options of the command."""
Overrides = Annotated[Sequence[str], Parameter(parse=False)]
"""The `--section.field value` words of the command line."""

_REMOVED = {"--recipe": "--recipe: the recipe is an argument now: 'homerec compare RECIPE ...'"}
"""Options of older versions that cyclopts takes for the wrong one."""


def new_app(name: str, summary: str | None = None) -> App:
    """A command, or a group of commands, without its functions."""
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
    """List --help among the parameters of a command and of its subcommands.

    cyclopts lists it among the commands, and not at all for a subcommand.
    """
    for name in app:
        if name in app.help_flags:
            app[name].show = True
            app[name].group = "Parameters"
        else:
            list_help_option(app[name])


def _shown(default: Any) -> str | None:
    """A default in the help; none for what is off or left out."""
    off = default is None or default is False or default in ("", ())
    return None if off else str(default)


def call(app: App, words: Sequence[str], overrides: Sequence[str] = ()) -> int:
    """Run the command that `words` name; returns its exit code. UserError for a mistake in them."""
    try:
        command, bound, hidden = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        option = error.token.value if isinstance(error, UnknownOptionError) else ""
        text = _REMOVED.get(option) or " ".join(str(error).split())
        raise UserError(f"command line: {text}") from error
    if command == app.help_print and {"-h", "--help"}.isdisjoint(words):
        known = ", ".join(name for name in app if not name.startswith("-"))
        raise UserError(f"command line: no command after '{' '.join(app.name)}'; known: {known}")
    extra = {"overrides": overrides} if "overrides" in hidden else {}
    return int(command(*bound.args, **bound.kwargs, **extra) or 0)
