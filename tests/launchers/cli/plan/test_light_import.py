"""A plan of a table list imports no compiler, no algebra, no charts, no readers, no towers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_UNUSED = (
    "tensordict", "sympy", "torch._dynamo", "torch.distributed.optim",
    "torch.fx.experimental.symbolic_shapes", "pyarrow", "plotly", "jinja2", "pipeline.train",
    "pipeline.training.build", "models.ranker",
)  # fmt: skip

# What was left out is the real thing to whoever imports it later.
_CODE = """
import sys
from launchers.cli.main import main
assert main(["plan", sys.argv[1], "--cluster", "h100-2x1", "--batch-size", "64"]) == 0
print([name for name in sys.argv[2:] if name in sys.modules])
from fbgemm_gpu.sparse_ops import guard_or_true
assert guard_or_true(True)
import tensordict
assert tensordict.TensorDict({}, batch_size=[]).is_empty()
"""


def test_a_plan_imports_what_it_needs(tmp_path: Path) -> None:
    tables = tmp_path / "tables.yaml"
    tables.write_text("tables: [{name: a, rows: 1000, dim: 64}]\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(tables), *_UNUSED],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
