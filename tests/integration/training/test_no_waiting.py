"""A step in steady state does not make the host wait for the device.

On CPU nothing waits. What would on CUDA is counted: calls that turn a tensor into a number.
"""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config.overrides import resolve
from pipeline.ranks.world import this_world
from pipeline.train import train
from pipeline.training.hooks import Hook
from tests.ranks import run_ranks

_FIRST, _LAST = 8, 12
_EVERYTHING = ["--train.ema_decay", "0.9", "--dense.clip_norm", "1", "--faults.spike_mad", "50"]
_EVERYTHING += ["--faults.on_nonfinite", "skip", "--loss.positive_weights.click", "2"]
_EVERYTHING += ["--train.log_every", "100", "--train.max_steps", "14"]

_OURS = {
    "pipeline/ranks/device.py": "the verdict on the step before, a copy on the host",
    "pipeline/ranks/coordinate.py": "flags of ranks, tensors on the host",
}
_OTHERS = {
    "torch/autograd/graph.py": "DDP's divisor, on the host",
    "torchrec/sparse/jagged_tensor.py": "numbers of ids by key, to send them to ranks",
    "torchrec/distributed/dist_data.py": "numbers of ids by rank, to receive them",
    "fbgemm_gpu/split_table_batched_embeddings_ops_training.py": "widths and step, on the host",
}

_METHODS = {"item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__"}
_OPS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2"}
_MODES = (__file__, "torch/_compile.py", "eval_frame.py", "_python_dispatch.py", "overrides.py")


def _caller() -> str:
    """File of the code that the modes below have interrupted."""
    names = [frame.filename for frame in traceback.extract_stack()]
    path = Path(next(name for name in reversed(names) if not name.endswith(_MODES)))
    root = next(parent for parent in path.parents if not (parent / "__init__.py").exists())
    return path.relative_to(root).as_posix()


class Reads(Hook):
    """Counts callers that read a tensor in steps `_FIRST` to `_LAST` - 1."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        found = self.found

        class Ops(TorchDispatchMode):  # type: ignore[no-untyped-call]
            def __torch_dispatch__(
                self, op: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                if op.name().partition(".")[0] in _OPS:
                    found[_caller()] += 1
                return op(*args, **(kwargs or {}))

        class Methods(TorchFunctionMode):
            def __torch_function__(
                self, of: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                if getattr(of, "__name__", "") in _METHODS:
                    found[_caller()] += 1
                return of(*args, **(kwargs or {}))

        self._modes: list[Any] = [Ops(), Methods()]  # type: ignore[no-untyped-call]

    def before_step(self, step: int) -> None:
        if step == _FIRST:
            for mode in self._modes:
                mode.__enter__()
        if step == _LAST:
            for mode in reversed(self._modes):
                mode.__exit__(None, None, None)


def reads(rank: int, size: int, data: Path, out: Path) -> dict[str, int]:
    config = resolve("debug", None, ["--data.path", str(data), *_EVERYTHING])
    hook = Reads()
    assert train(config, out, this_world(), hooks=[hook]) == 0
    return dict(hook.found)


@pytest.mark.parametrize("size", [1, 2])
def test_a_steady_step_reads_no_tensor_but_the_verdict_on_the_step_before(
    synthetic: Path, tmp_path: Path, size: int
) -> None:
    for found in run_ranks(reads, size, synthetic, tmp_path / "run"):
        assert found.keys() - _OURS.keys() - _OTHERS.keys() == set()
        assert [found[place] for place in _OURS] == [_LAST - _FIRST] * len(_OURS)
