"""Speed of one training step of SMES: grouped products of chosen experts, and all experts masked.

    python -m benchmarks.sparse.tower --batch 2048 --features 704

The forms take turns, step by step, so that a busy machine slows them alike; times are medians.
Routers have their first weights: the more tasks agree, the fewer experts a row runs.
'load' is the mean share of the experts that a row runs; FLOPs are those of all products for a row,
forward and backward.
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.tower import TASKS, alternate, training_step
from models.layers import sparse_experts
from models.probe import probing
from models.towers.config import SmesConfig
from models.towers.cost import cost
from models.towers.smes import SMES
from pipeline.ranks.allocator import keep_freed_memory


class Masked(nn.Module):
    """The tower with all experts run."""

    def __init__(self, tower: SMES) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, v_BF: Tensor) -> Tensor:
        wanted, sparse_experts.is_wanted = sparse_experts.is_wanted, lambda *_: False
        try:
            logits: Tensor = self.tower(v_BF)
        finally:
            sparse_experts.is_wanted = wanted
        return logits


@torch.no_grad()
def load(tower: SMES, v_BF: Tensor) -> float:
    with probing(tower) as probe:
        tower(v_BF)
    return float(torch.stack([*probe.runs.values()]).float().mean())


def flops(config: SmesConfig, num_features: int) -> tuple[int, int]:
    """Of a row that runs all experts, and of one expert."""

    def of(experts: int) -> int:
        changes = {"shared_top_k": experts, "task_top_k": 0}
        return cost(config.model_copy(update=changes), num_features, TASKS).flops

    whole = of(config.num_experts)
    return whole, whole - of(config.num_experts - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--features", type=int, default=704)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--experts", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--top-k", type=int, nargs=2, default=[2, 1], metavar=("SHARED", "OWN"))
    parser.add_argument("--normalization", choices=["none", "layer"], default="layer")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as training does
    shared, own = args.top_k
    columns = ("experts", "load", "MFLOP chosen", "MFLOP all", "grouped ms", "masked ms", "ratio")
    table = Table(
        *columns, title=f"batch {args.batch}, {args.features} features, {len(TASKS)} tasks"
    )
    v_BF = torch.randn(args.batch, args.features, requires_grad=True)
    for num_experts in args.experts:
        config = SmesConfig(
            num_experts=num_experts,
            shared_top_k=shared,
            task_top_k=own,
            normalization=args.normalization,
            activation="swish",
        )
        tower = config.build(num_features=args.features, tasks=TASKS)
        tower.init_weights(0)
        run = load(tower, v_BF)
        sparse_experts.MOST = 1.1  # whatever the load
        forms: dict[str, nn.Module] = {"grouped": tower, "masked": Masked(tower)}
        steps = {
            name: torch.autocast("cpu", torch.bfloat16, enabled=args.bf16)(
                training_step(form, v_BF)
            )
            for name, form in forms.items()
        }
        seconds = alternate(steps, args.rounds, "cpu")
        whole, expert = flops(config, args.features)
        table.add_row(
            str(num_experts),
            f"{run:.0%}",
            f"{(whole - (1 - run) * num_experts * expert) / 1e6:.1f}",
            f"{whole / 1e6:.1f}",
            *(f"{seconds[name] * 1e3:.0f}" for name in forms),
            f"{seconds['masked'] / seconds['grouped']:.2f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
