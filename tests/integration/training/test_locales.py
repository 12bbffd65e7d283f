"""A run where text is not UTF-8: names in Chinese, paths that no shell would like."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.checkpoint.layout import saved_steps

ROOT = Path(__file__).resolve().parents[3]
_NAMES = {"video_id": "视频", "author_id": "作者é"}
_LABEL = {"click": "点击"}
_COMMANDS = """\
import sys
from launchers.cli.main import main
data, out, run = sys.argv[1:]
for words in (
    ["launch", "--nproc", "2", "--", "train", "--config", run, "--data.path", data, "--out", out],
    ["train", "--resume", "--out", out, "--train.max_steps", "4"],
    ["report", out],
    ["plan", "debug", "--data.path", data, "--cluster", "h100-2x1", "--out", out + "/plan 2.json"],
    ["checkpoint", "verify", out],
):
    if code := main(words):
        sys.exit(f"{words}: {code}")
"""
# With a byte order mark, as some editors leave one.
_CONFIG = """\
\ufeffrecipe: debug
train: {max_steps: 2, eval_every: 2, batch_size: 256}
loss:
  task_weights: {点击: 2}
"""


def renamed(folder: Path, made: Path) -> None:
    """A copy of a prepared folder with a label, features and their tables renamed."""
    shutil.copytree(folder, made)
    schema = json.loads((made / "schema.json").read_text(encoding="utf-8"))
    for entry in (*schema["sparse"], *schema["tables"]):
        for field in entry.keys() & {"name", "table"}:
            entry[field] = _NAMES.get(entry[field], entry[field])
    for label in schema["labels"]:
        label["name"] = _LABEL.get(label["name"], label["name"])
    for split in schema["splits"].values():
        for counts in (split["positives"], split["missing"]):
            counts.update({_LABEL[name]: counts.pop(name) for name in counts.keys() & _LABEL})
        for file in split["files"]:
            table = pq.read_table(made / file)
            names = [_NAMES.get(name, name) for name in table.column_names]
            pq.write_table(table.rename_columns(names), made / file)
    text = json.dumps(schema, ensure_ascii=False)
    (made / "schema.json").write_text(text, encoding="utf-8")


def locale_in(folder: Path, name: str) -> dict[str, str]:
    """Variables that choose a locale, made in `folder` where the machine lacks it. Where it cannot
    be made: ASCII for everything but the streams."""
    known = subprocess.run(["locale", "-a"], capture_output=True, check=True).stdout.decode()
    if name.replace("-", "").lower() in known.replace("-", "").lower().split():
        return {"LC_ALL": name}
    language, _, charset = name.partition(".")
    made = ["localedef", "-i", language, "-f", charset, str(folder / name)]
    if (
        shutil.which("localedef")
        and not subprocess.run(made, capture_output=True, check=False).returncode
    ):
        return {"LC_ALL": name, "LOCPATH": str(folder)}
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return {**variables, "PYTHONIOENCODING": charset}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("locale", "letters"),
    [
        ("de_DE.ISO-8859-1", "é"),
        ("zh_CN.GB18030", "数据é"),
    ],
)
def test_a_run_is_the_same_where_text_is_not_utf_8(
    synthetic: Path, tmp_path: Path, locale: str, letters: str
) -> None:
    variables = locale_in(tmp_path, locale)
    charset = locale.partition(".")[2]
    place = b"'1' \"2\" $$ ${app_id} ${local_rank} $(id) {} %j # [bold] "
    if variables["LC_ALL"] == locale:
        place += letters.encode(charset)
    data, out = (os.fsencode(tmp_path) + b"/" + name + place for name in (b"data", b"out"))
    renamed(synthetic, tmp_path / "renamed")
    os.rename(tmp_path / "renamed", data)
    (tmp_path / "run.yaml").write_text(_CONFIG, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", _COMMANDS, data, out, str(tmp_path / "run.yaml")],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    said = done.stderr.decode(charset)
    assert done.returncode == 0, said
    shown = done.stdout.decode(charset)
    assert ("视频" if charset == "GB18030" else ascii("视频")[1:-1]) in shown
    assert "[bold]" in shown
    run = Path(os.fsdecode(out))
    assert saved_steps(run / "checkpoints")[-1] == 4
    for name in ("metrics.jsonl", "schema.json", "results.json", "plan 2.json", "report.html"):
        text = (run / name).read_text(encoding="utf-8")
        assert any(json.dumps(word)[1:-1] in text or word in text for word in ("点击", "视频"))
