"""The `homerec` command. Imports only the subcommand that is called."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

from pipeline.io.errors import UserError, nearest
from pipeline.io.exit_codes import ExitCode
from pipeline.io.interrupts import Interrupted, interrupts
from pipeline.io.streams import escape_unencodable_output

_DESCRIPTION = "Train, evaluate and inspect HoME multi-task rankers on sharded embedding tables."

# Name -> location of its function or App, and its line in `homerec --help`.
_COMMANDS = {
    "init": ("init:init", "propose a configuration for a table of your own"),
    "check": ("check.commands:check", "check a whole table before it is trained on"),
    "prepare": ("prepare:app", "prepare raw logs as Parquet files for training"),
    "bench": ("bench:app", "measure on this machine what preparing a table costs"),
    "train": ("train:train", "train a recipe, in one process or as a rank of 'launch' or torchrun"),
    "evaluate": ("evaluate:evaluate", "compute exact metrics of a checkpoint on a split"),
    "export": ("model.export:export", "export a checkpoint as a model folder"),
    "score": ("model.score:score", "score files with an exported model"),
    "features": ("features:app", "fill a store of features for serving"),
    "serve": ("model.serve:serve", "serve an exported model over HTTP"),
    "publish": ("stream.publish:publish", "publish a run's newest model, as increments"),
    "replay": ("stream.replay:replay", "write a log as if it came live, to a folder or to Kafka"),
    "compare": ("compare.commands:compare", "compare towers over seeds or rolling origins"),
    "map": ("map.commands:map_", "map where HoME pays, on tasks with known probabilities"),
    "tune": ("tune:tune", "search for a better configuration"),
    "launch": ("launch:launch", "start ranks on this machine or a cluster through TorchX"),
    "status": ("jobs:status", "show the state of a launched job"),
    "cancel": ("jobs:cancel", "stop a launched job after it has saved a checkpoint"),
    "logs": ("jobs:logs", "show the logs of a launched job"),
    "rendezvous": ("rendezvous:rendezvous", "run the rendezvous store of an elastic job"),
    "plan": ("plan.commands:app", "find, inspect and measure sharding plans for any cluster"),
    "debug": ("debug:app", "print the batch of a bad step"),
    "checkpoint": ("checkpoint:app", "list, verify, show and prune the checkpoints of a run"),
    "report": ("report:report", "write the report.html of a run, study or search"),
}

# Commands that accept any configuration field as --section.field VALUE.
_WITH_FIELDS = ("bench", "check", "prepare", "train", "compare", "tune", "plan")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, that of this process where `argv` is None; returns its exit code.

    See ExitCode. Of this process: a signal at any moment stops it, imports included.
    """
    if argv is not None:
        return _main(list(argv))
    with interrupts():
        try:
            code = _main(sys.argv[1:])
            if code == ExitCode.STOPPED:
                _note_stop("stopped by a signal", time.time())
        except Interrupted as stop:
            print(f"homerec: {stop}", file=sys.stderr, flush=True)  # noqa: T201
            _note_stop(str(stop), stop.time)
            code = ExitCode.STOPPED
    return code


def _note_stop(message: str, at: float) -> None:
    """For the launcher of a rank: a stop comes before what its peers then fail of."""
    from pipeline.io.rank_exit import RankExit, write_exit

    write_exit(RankExit(code=ExitCode.STOPPED, message=message, time=at))


def _main(words: list[str]) -> int:
    escape_unencodable_output()
    ours = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in ours
    if debug:
        words.remove("--debug")
    try:
        return _run(words)
    except BrokenPipeError:  # the reader closed the pipe: `homerec ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from pipeline.io.rank_exit import exit_of, write_exit

        end = exit_of(error)
        write_exit(end)
        if debug or end.code == ExitCode.FAILED:
            raise
        print(end.line, file=sys.stderr, flush=True)  # noqa: T201
        if end.code == ExitCode.RANK_LOST:
            # Exit at once: threads still wait for the lost rank and would keep the process alive.
            os._exit(end.code)
        return end.code


def _run(words: list[str]) -> int:
    _check_encoding(words)
    if not words:
        raise UserError("command line: no command; 'homerec --help' lists them")
    name, *rest = words
    if name in ("-h", "--help"):
        print(_help())  # noqa: T201
        return ExitCode.OK
    if name == "--version":
        from importlib.metadata import version

        print(f"homerec {version('homerec')}")  # noqa: T201
        return ExitCode.OK
    if name not in _COMMANDS:
        raise UserError(f"command line: unknown command {name!r}; {nearest(name, list(_COMMANDS))}")
    from launchers.cli.command import call
    from pipeline.io.silence import silence_libraries

    silence_libraries()
    rest, overrides = split_overrides(rest) if name in _WITH_FIELDS else (rest, [])
    if name == "train":
        rest = normalize_resume_auto(rest)
    code = call(open_command(name), rest, overrides)
    if name == "train" and not {"-h", "--help"}.isdisjoint(rest):
        from pipeline.config.overrides import field_help

        print(field_help())  # noqa: T201
    return code


def _check_encoding(words: list[str]) -> None:
    """Reject words that the locale cannot decode (Python keeps such bytes as lone surrogates): we
    could not write them to a file."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError as error:
            encoding = sys.getfilesystemencoding()
            raise UserError(
                f"command line: {word!r}: not valid {encoding}, the encoding of this locale; set "
                "LC_ALL to the locale it was written in, such as C.UTF-8, or use other letters"
            ) from error


def open_command(name: str) -> Any:
    """Return the cyclopts App of a command."""
    from cyclopts import App

    from launchers.cli.command import list_help_option, new_app

    module, _, attribute = _COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"launchers.cli.{module}"), attribute)
    app = found
    if not isinstance(found, App):
        app = new_app(f"homerec {name}")
        app.default(found)
    list_help_option(app)
    return app


def _help() -> str:
    width = max(map(len, _COMMANDS)) + 2
    lines = [f"  {name:{width}}{summary}" for name, (_, summary) in _COMMANDS.items()]
    return "\n".join(
        [
            "Usage: homerec COMMAND [OPTIONS]",
            "",
            _DESCRIPTION,
            "",
            "Commands ('homerec COMMAND --help' lists the options of one):",
            *lines,
            "",
            "Options:",
            f"  {'--help':{width}}show this help",
            f"  {'--version':{width}}show the version",
            f"  {'--debug':{width}}show the traceback of an error (any command)",
        ]
    )


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into plain words and `--section.field value` pairs."""
    plain: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or "." not in word.partition("=")[0]:
            plain.append(word)
            continue
        overrides.append(word)
        if "=" not in word and rest:
            overrides.append(rest.pop(0))
    return plain, overrides


def normalize_resume_auto(words: Sequence[str]) -> list[str]:
    """Join `--resume auto` into one word, because a bare --resume may precede the recipe."""
    plain = list(words)
    for at, pair in enumerate(pairwise(words)):
        if pair == ("--resume", "auto"):
            plain[at : at + 2] = ["--resume-auto"]
            break
    return ["--resume-auto" if word == "--resume=auto" else word for word in plain]


if __name__ == "__main__":
    sys.exit(main())
