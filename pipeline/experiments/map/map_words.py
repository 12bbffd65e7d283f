"""What a map says in words: the rule, its error, and the worlds where HoME should lose.

Does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.experiments.map.dials import Dials, dials_text
from pipeline.experiments.paired import ERRORS, false_positive_rate, holm, p_value
from pipeline.io.json_types import Json

_SHOWN = 6


def signed(difference: Json, digits: int = 2) -> str:
    """Format a difference with its standard error: '-0.31 ± 0.08'."""
    text = f"{difference['mean']:+.{digits}f}"
    return text if difference["error"] is None else f"{text} ± {difference['error']:.{digits}f}"


def dial_text(value: float) -> str:
    """Format a measured dial."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def answers(found: Json) -> Iterator[tuple[str, str]]:
    """Yield questions and answers."""
    yield "Where does HoME pay?", _rule_text(found)
    yield "How far can the rule be trusted?", _trust_text(found)
    yield "How many cells?", _count_text(found)
    if any(cell["title"] for cell in found["cells"]):
        yield "Does it lose where it should?", _losing_text(found)


def region_text(region: Json) -> str:
    """Describe a region of the rule: where, difference, cells."""
    return (
        f"{region['where']}: {signed(region)} ({region['cells']} cells; better in "
        f"{region['better']}, worse in {region['worse']})"
    )


def _rule_text(found: Json) -> str:
    regions = found["rule"]["regions"]
    better = [region for region in regions if region["conclusion"] == "better"]
    others = [region for region in regions if region["conclusion"] != "better"]
    if not better:
        text = f"In no region is HoME better by {ERRORS:g} standard errors."
    else:
        text = f"Where {'; or '.join(map(region_text, better))}."
    if others and regions != others:
        text += f" Not where {'; or '.join(map(region_text, others))}."
    elif others:
        text += f" Measured: {'; '.join(map(region_text, others))}."
    return text


def _trust_text(found: Json) -> str:
    test = found["rule"]["test"]
    text = (
        f"It is a tree of two questions, fitted to {found['rule']['cells']} cells; ± is one "
        "standard error over seeds of the mean over the cells of a region."
    )
    if test is None:
        return f"{text} No random cell has been measured yet."
    verdict = "better" if test["error"] < test["error_of_none"] else "no better"
    return (
        f"{text} On {test['cells']} random cells that it was not fitted to it misses the "
        f"difference by {test['error']:.2f} on average; 'no difference' misses it by "
        f"{test['error_of_none']:.2f}, so the rule is {verdict} than none there."
    )


def _count_text(found: Json) -> str:
    conclusions = [cell["difference"]["conclusion"] for cell in found["cells"]]
    better, worse = conclusions.count("better"), conclusions.count("worse")
    text = (
        f"Of {len(conclusions)} cells HoME is better than the best rival in {better} and worse in "
        f"{worse}, by more than {ERRORS:g} standard errors."
    )
    seeds = len(found["seeds"])
    if seeds > 1:
        text += (
            f" With {seeds} seeds, at least {false_positive_rate(seeds):.0%} of cells without a "
            "difference would show one."
        )
    sure = [cell["difference"]["mean"] for cell in _sure_cells(found)]
    text += (
        " At a family-wise error rate of 5% over all cells (t-test, Holm) it is better in "
        f"{sum(mean < 0 for mean in sure)} and worse in {sum(mean > 0 for mean in sure)}."
    )
    if better:
        text += f" Candidates for better, to be tested with more seeds: {_better_text(found)}."
    return text + _diverged_text(found)


def _sure_cells(found: Json) -> list[Json]:
    """Return the cells whose difference passes a t-test, corrected for the number of cells."""
    every = [cell["difference"] for cell in found["cells"]]
    rejected = holm([p_value(one["mean"], one["error"], one["n"]) for one in every])
    return [cell for cell, is_sure in zip(found["cells"], rejected, strict=True) if is_sure]


def _diverged_text(found: Json) -> str:
    parts = [f"{tower} {count}" for tower, count in found["diverged"].items() if count]
    if not parts:
        return ""
    return (
        f" Runs that diverged, of {found['done']} each, and are left out of their cells: "
        f"{', '.join(parts)}."
    )


def _better_text(found: Json) -> str:
    """Return the cells in which HoME is better, the largest differences first."""
    ranked = sorted(found["cells"], key=lambda cell: cell["difference"]["mean"])
    cells = [cell for cell in ranked if cell["difference"]["conclusion"] == "better"]
    parts = [
        f"{dials_text(Dials(**cell['dials']))} ({signed(cell['difference'])} against "
        f"{cell['rival']})"
        for cell in cells[:_SHOWN]
    ]
    return "; ".join(parts) + ("; and others" if len(cells) > _SHOWN else "")


def _losing_text(found: Json) -> str:
    parts = [
        f"{cell['title']}: {signed(cell['difference'])} against {cell['rival']} "
        f"({cell['difference']['conclusion']})"
        for cell in found["cells"]
        if cell["title"]
    ]
    return f"{'; '.join(parts)}."
