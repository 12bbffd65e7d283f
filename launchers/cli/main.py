"""The `homerec` command. Heavy imports wait until a subcommand needs them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from launchers.cli import (
    checkpoint,
    compare,
    debug,
    jobs,
    launch,
    prepare_options,
    rendezvous,
    tune,
)
from launchers.cli.plan import options as plan
from launchers.local.processes import die_with_parent
from pipeline.io.errors import UserError
from pipeline.io.exit_codes import ExitCode
from pipeline.io.rank_exit import exit_of, write_exit

# Commands that take any field of a run as --section.field VALUE.
_WITH_FIELDS = (["train"], ["compare"], ["tune"], ["plan"])

# Where a restart, a requeue or a retry shows: a variable, and what it is on the first start.
_STARTS = {"TORCHELASTIC_RESTART_COUNT": 0, "SLURM_RESTART_COUNT": 0, "AWS_BATCH_JOB_ATTEMPT": 1}

_DESCRIPTION = "Train, evaluate and look at HoME multi-task rankers on sharded embedding tables."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code (0 fine, 2 bad input, 75 lost another rank,
    143 stopped by a signal)."""
    words = list(sys.argv[1:] if argv is None else argv)
    words = plan.with_verb(words)
    words, overrides = split_overrides(words) if words[:1] in _WITH_FIELDS else (words, [])
    if words[:1] == ["train"]:
        words = resuming_if_there(words)
    # The fields' help needs the configuration's types, and those need pydantic: only when asked.
    asked = words[:1] == ["train"] and not {"-h", "--help"}.isdisjoint(words)
    args = _parser(with_fields=asked).parse_args(words)
    args.overrides = overrides
    try:
        return int(args.run(args))
    except BrokenPipeError:  # the reader of our output left: `homerec ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        end = exit_of(error)
        write_exit(end)
        if args.debug or end.code == ExitCode.FAILED:
            raise
        print(end.line, file=sys.stderr, flush=True)  # noqa: T201
        if end.code == ExitCode.RANK_LOST:
            # No farewell: threads still wait for what will not come, and would hold the process.
            os._exit(end.code)
        return end.code


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line without its `--section.field value` pairs, and these.

    argparse would take the value of an option that it does not know for the recipe.
    """
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


def resuming_if_there(words: Sequence[str]) -> list[str]:
    """`--resume auto` in one word.

    argparse would take the recipe after a bare --resume for that option's value.
    """
    plain = list(words)
    for at, pair in enumerate(pairwise(words)):
        if pair == ("--resume", "auto"):
            plain[at : at + 2] = ["--resume-auto"]
            break
    return ["--resume-auto" if word == "--resume=auto" else word for word in plain]


class HelpWithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows each default once, and none where there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        default = action.default
        none = default is None or default is False or default in ("", [])
        shown = not none and "(default" not in (text or "")
        return super()._get_help_string(action) if shown else text


class _Version(argparse.Action):
    """`homerec --version`. The distribution's metadata are read only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"homerec {version('homerec')}")  # noqa: T201
        parser.exit()


def _parser(*, with_fields: bool) -> argparse.ArgumentParser:
    formatter = HelpWithDefaults
    parser = argparse.ArgumentParser("homerec", description=_DESCRIPTION)
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, run: object) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=summary, description=summary, formatter_class=formatter, allow_abbrev=False
        )
        made.add_argument("--debug", action="store_true", help="show the traceback of an error")
        made.set_defaults(run=run)
        return made

    prepare = command("prepare", "turn raw logs into Parquet that any recipe trains on", _prepare)
    kinds = prepare.add_subparsers(dest="kind", required=True, metavar="DATASET")
    prepare_options.kuairand(kinds, formatter)
    prepare_options.synthetic(kinds, formatter)

    train = command(
        "train", "one process of a run: alone, or started by torchrun or 'launch'", _train
    )
    train.formatter_class = argparse.RawDescriptionHelpFormatter
    train.add_argument(
        "recipe", nargs="?", help="demo, debug or kuairand (default: demo, or as in --config)"
    )
    train.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML tree laid over the recipe"
    )
    train.add_argument(
        "--out", type=Path, metavar="DIR", help="the run's folder (default: runs/RECIPE)"
    )
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest checkpoint in --out, with its configuration; '--resume auto': "
        "if there is one, else begin",
    )
    train.add_argument(
        "--resume-auto", dest="resume", action="store_const", const="auto", help=argparse.SUPPRESS
    )
    train.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    if with_fields:
        from pipeline.config.overrides import field_help

        train.epilog = field_help()

    evaluate = command("evaluate", "exact figures of a checkpoint on a split", _evaluate)
    evaluate.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR",
        help="a run's folder (its best checkpoint) or one checkpoint's",
    )
    evaluate.add_argument(
        "--split", choices=("train", "val", "test"), default="val", help="rows to evaluate"
    )
    evaluate.add_argument(
        "--data.path",
        dest="data",
        type=Path,
        metavar="DIR",
        help="another prepared folder with the same vocabularies (default: the run's)",
    )
    evaluate.add_argument(
        "--json", action="store_true", help="print one JSON object: task -> figures"
    )

    comparing = command(
        "compare", "train towers on the same batches over seeds, and tell them apart", compare.run
    )
    compare.add_arguments(comparing)

    launching = command("launch", "start ranks of a run through TorchX", launch.run)
    launch.add_arguments(launching)
    jobs.add_handle(command("status", "how a launched job fares", jobs.status))
    jobs.add_handle(command("cancel", "stop a launched job; it saves first", jobs.cancel))
    jobs.add_logs_arguments(command("logs", "what a launched job wrote", jobs.logs))

    meeting = command("rendezvous", "where machines of a job meet", rendezvous.run)
    rendezvous.add_arguments(meeting)

    tuning = command("tune", "search for a better configuration, many runs", tune.run)
    tune.add_arguments(tuning)

    planning = command("plan", "how to shard tables on any cluster, before there is one", plan.run)
    plan.add_arguments(planning)

    debugging = command("debug", "look at a batch that a run kept", debug.run)
    debug.add_arguments(debugging)
    keeping = command("checkpoint", "a run's checkpoints: list, check, show, prune", checkpoint.run)
    checkpoint.add_arguments(keeping)

    report = command("report", "write the report.html of a run, study or search", _report)
    report.add_argument("run_folder", type=Path, metavar="RUN", help="its folder, runs/NAME")
    return parser


def _prepare(args: argparse.Namespace) -> int:
    from launchers.cli.prepare import prepare

    return prepare(args)


def _train(args: argparse.Namespace) -> int:
    from pipeline.config.overrides import configure

    if args.resume and args.overwrite:
        raise UserError("command line: --resume and --overwrite contradict each other")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # An agent that is killed cannot end its ranks: they would train on beside a new start.
        die_with_parent()
    # torchrun and schedulers start ranks again with the same words: they go on, replace nothing.
    again = any(int(os.environ.get(name, 0)) > first for name, first in _STARTS.items())
    go_on = bool(args.resume or again)
    config, out = configure(
        args.recipe,
        args.config,
        args.out,
        args.overrides,
        resume=go_on,
        must_exist=args.resume is True,
    )
    # Only now, as they import torch: --help and a mistyped field answer at once.
    from pipeline.ranks.world import open_world
    from pipeline.train import train

    with open_world(config.train.timeout) as world:
        return train(config, out, world, resume=go_on, overwrite=args.overwrite and not again)


def _evaluate(args: argparse.Namespace) -> int:
    from pipeline.evaluate import evaluate_checkpoint
    from pipeline.ranks.world import open_world
    from pipeline.tracking.tracker import print_final_table

    with open_world() as world:
        results, what = evaluate_checkpoint(args.checkpoint, args.split, args.data, world)
        if not world.is_first:
            return 0
    if args.json:
        print(json.dumps(results, allow_nan=False))  # noqa: T201
    else:
        print(", ".join(f"{key} {value}" for key, value in what.items()))  # noqa: T201
        print_final_table(results)
    return 0


def _report(args: argparse.Namespace) -> int:
    from pipeline.experiments.search_report import FOUND, read_found, write_tune_report
    from pipeline.experiments.study import NAME, load_study
    from pipeline.experiments.study_report import write_study_report
    from pipeline.report.run_report import write_report

    folder: Path = args.run_folder
    if (folder / NAME).is_file():
        path = write_study_report(folder, load_study(folder))
    elif (folder / FOUND).is_file():
        path = write_tune_report(folder, read_found(folder))
    else:
        path = write_report(folder)
    print(path)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
