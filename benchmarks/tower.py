"""Speed of one training step (forward, loss, backward) of HoME: batched and naive form.

    python -m benchmarks.tower --batch 2048 --features 704 --compile
    python -m benchmarks.tower --device cuda --dtype bfloat16 --compile     # no GPU has run it yet

'naive' is one small module per expert, gate and mask (tests/models/reference/). The forms
take turns, step by step, so that a busy machine slows them alike; times are medians. The
share is that of the floating-point rate which a 2048^3 matmul reaches here.

HOMEREC_KERNELS=0 in the environment makes "batched" do without the compiled kernels, see
docs/design/models.md.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from models.losses import task_losses
from models.tasks import Task
from models.towers.config import HomeConfig
from pipeline.ranks.allocator import keep_freed_memory
from tests.models.reference.build import reference

TASKS = [Task(name=name, category="watch") for name in ("click", "long_view", "finish")] + [
    Task(name=name, category="interact")
    for name in ("like", "follow", "comment", "forward", "profile_enter")
]


def training_step(tower: nn.Module, v_BF: Tensor) -> Callable[[], None]:
    """One forward, loss and backward; v's gradient is asked for, as embeddings need it."""
    batch, num_tasks = v_BF.shape[0], len(TASKS)
    labels = torch.rand(batch, num_tasks, generator=torch.Generator().manual_seed(1)) < 0.2
    labels = labels.float().to(v_BF.device)
    row_weights, task_weights = v_BF.new_ones(batch), v_BF.new_ones(num_tasks)

    def step() -> None:
        tower.zero_grad()
        v_BF.grad = None
        loss = torch.dot(task_losses(tower(v_BF), labels, row_weights[:, None]), task_weights)
        loss.backward()  # type: ignore[no-untyped-call]

    return step


def count_aten(step: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CPU]) as record:
        step()
    return sum(event.count for event in record.key_averages() if event.key.startswith("aten::"))


def saved_bytes(tower: nn.Module, v_BF: Tensor) -> int:
    """What a forward keeps for backward, beside weights and input."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (v_BF, *tower.parameters())}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = tower(v_BF)  # kept until the count is over, so that no storage is reused
    assert logits.requires_grad
    return sum(saved.values())


def alternate(steps: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Median seconds of each step."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    times: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(rounds + 2):
        for name, step in steps.items():
            wait()
            start = time.perf_counter()
            step()
            wait()
            if i >= 2:  # the first rounds warm up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--features", type=int, default=704)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--compile", action="store_true", help="add the compiled forms")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as training does
    autocast = args.dtype == "bfloat16"

    tower = HomeConfig().build(num_features=args.features, tasks=TASKS)
    tower.init_weights(0)
    naive = reference(tower, TASKS).to(args.device)
    tower = tower.to(args.device)
    v_BF = torch.randn(args.batch, args.features, device=args.device, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        training_step(naive, v_BF)()
    flop = counter.get_total_flops()

    forms: dict[str, nn.Module] = {"naive": naive, "batched": tower}
    if args.compile:
        for name, form in list(forms.items()):
            forms[f"{name}, compiled"] = copy.deepcopy(form)
            forms[f"{name}, compiled"].compile(fullgraph=True)
    steps: dict[str, Callable[[], object]] = {}
    for name, form in forms.items():
        step = training_step(form, v_BF)
        steps[name] = torch.autocast(args.device, torch.bfloat16, enabled=autocast)(step)
    square = torch.randn(2048, 2048, dtype=getattr(torch, args.dtype), device=args.device)
    seconds = alternate({**steps, "matmul": lambda: square @ square}, args.rounds, args.device)
    ceiling = 2 * 2048**3 / seconds.pop("matmul")

    table = Table(
        title=f"batch {args.batch}, {args.features} features, {len(TASKS)} tasks, "
        f"{args.threads} threads, {args.dtype}; {flop / args.batch / 1e6:.1f} MFLOP a sample, "
        f"matmul ceiling {ceiling / 1e9:.0f} GFLOP/s"
    )
    for column in (
        *("form", "ms", "samples/s", "vs naive", "GFLOP/s", "of ceiling"),
        *("aten calls", "saved MB"),
    ):
        table.add_column(column, justify="left" if column == "form" else "right")
    for name, median in seconds.items():
        rate = flop / median
        table.add_row(
            name,
            f"{median * 1e3:.0f}",
            f"{args.batch / median:,.0f}",
            f"{seconds['naive'] / median:.2f}",
            f"{rate / 1e9:.0f}",
            f"{rate / ceiling:.0%}",
            "" if "compiled" in name else f"{count_aten(steps[name]):,}",
            "" if "compiled" in name else f"{saved_bytes(forms[name], v_BF) / 1e6:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
