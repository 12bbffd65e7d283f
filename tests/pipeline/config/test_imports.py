"""A configuration is read, checked and explained without torch, so --help answers at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = "{'torch', 'torchrec', 'fbgemm_gpu', 'numpy', 'polars', 'pyarrow', 'plotly'}"

TREE = """
from pipeline.config.overrides import field_help, resolve
from pipeline.config.recipes import RECIPES
assert field_help()
for name in RECIPES:
    resolve(name, None, ["--model.tower.kind=ple", "--loss.balance.kind=pcgrad"])
"""
HELP = "from launchers.cli.main import main; main(['train', '--help'])"
TYPO = "from launchers.cli.main import main; main(['train', 'debug', '--train.epoch', '2'])"


@pytest.mark.parametrize("code", [TREE, HELP, TYPO], ids=["tree", "help", "typo"])
def test_the_configuration_imports_nothing_heavy(code: str) -> None:
    watched = f"import atexit, sys\natexit.register(lambda: print({HEAVY} & set(sys.modules)))\n"
    run = [sys.executable, "-c", watched + code]
    done = subprocess.run(run, capture_output=True, encoding="utf-8", check=False)
    assert done.stdout.endswith("set()\n"), done.stdout + done.stderr
