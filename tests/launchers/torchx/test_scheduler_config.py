"""A section of .torchxconfig is what the command line would say, and says so where it is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launchers.cli.main import main
from launchers.torchx.scheduler_config import configured
from tests.mutations import assert_read_or_refused, byte_mutations

LAUNCH = ["launch", "--dry-run", "--scheduler", "slurm"]
RANKS = ["--", "train", "demo"]


def test_a_section_of_torchxconfig_is_read_and_the_command_line_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".torchxconfig").write_text(
        "[slurm]\npartition = gpu\naccount = ads\ntime = 24:00:00\ngrace = 300\nrequeue = True\n"
        "[aws_batch]\nqueue = other\n",
        encoding="utf-8",
    )
    assert main([*LAUNCH, "--scheduler-args", "account=mine", *RANKS]) == 0
    shown = capsys.readouterr().out
    options = set(re.findall(r"#SBATCH --(\S+)", shown))
    assert {"partition=gpu", "account=mine", "time=24:00:00", "signal=B:USR1@300"} <= options
    assert "requeue" in options
    assert "other" not in shown
    assert list(tmp_path.iterdir()) == [tmp_path / ".torchxconfig"]


def test_the_home_folders_file_says_what_this_folders_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".torchxconfig").write_text(
        "[slurm]\npartition = home\nqos = low, or not\n", encoding="utf-8"
    )
    (here / ".torchxconfig").write_text("[slurm]\npartition = here\n", encoding="utf-8")
    assert main([*LAUNCH, *RANKS]) == 0
    shown = capsys.readouterr().out
    assert "#SBATCH --partition=here\n" in shown
    assert '#SBATCH --qos="low, or not"\n' in shown


def test_a_byte_order_mark_is_read_over_and_another_encoding_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file, text = tmp_path / ".torchxconfig", "[slurm]\npartition = é\n"
    file.write_text(text, encoding="utf-8-sig")
    assert main([*LAUNCH, *RANKS]) == 0
    assert "#SBATCH --partition=é\n" in capsys.readouterr().out
    file.write_text(text, encoding="latin-1")
    assert main([*LAUNCH, *RANKS]) == 2
    assert f"{file}: line 2: not UTF-8: byte 0xe9; save it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[slurm]\npartitoin = gpu\n",
            "[slurm] partitoin: no such option; did you mean 'partition'?",
        ),
        ("[slurm]\ngrace = soon\n", "[slurm] grace = 'soon': "),
        ("[slurm]\nrequeue = maybe\n", "[slurm] requeue = 'maybe': write true or false"),
        ("partition = gpu\n", "no section headers"),
        (
            "[slurm]\ncomment = a\n  rm -r b\n",
            "comment: 'a\\nrm -r b' contains a control character",
        ),
    ],
)
def test_a_mistake_in_torchxconfig_is_one_line_that_names_the_file(
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".torchxconfig").write_text(text, encoding="utf-8")
    assert main([*LAUNCH, *RANKS]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"homerec: error: {tmp_path}/.torchxconfig: ")
    assert said in printed
    assert printed.count("\n") == 1


def test_a_changed_file_is_read_or_one_line_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchx.specs import runopts

    options = runopts()
    options.add("partition", type_=str, help="")
    options.add("grace", type_=int, help="")
    options.add("requeue", type_=bool, help="")
    options.add("mounts", type_=list[str], help="")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / ".torchxconfig"
    text = b"[slurm]\npartition = gpu\ngrace = 300\nrequeue = True\nmounts = a;b\n"
    for changed in byte_mutations(text):
        path.write_bytes(changed)
        assert_read_or_refused(lambda: configured("slurm", options), changed)
