"""How far the inputs of a model have moved: histograms of features and their PSI.

Suffixes: N numbers, S id features, F = N + S features, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchrec import KeyedJaggedTensor

NUM_BINS = 32
_EDGE = 3.0
"""Standard deviations from the mean at which the outer bins of a number begin."""
_MIX = -0x61C8864680B583EB
"""2^64 over the golden ratio, as a signed number: spreads consecutive ids over bins (Knuth, The Art
of Computer Programming, vol. 3, 6.4)."""


class FeatureCounts:
    """Counts values of each feature in bins, and ids outside the vocabulary, over batches.

    A number's bins have equal widths from -3 to 3 standard deviations of the training data; an id's
    bin is a hash of its table row.

    Args:
        numbers: names of the columns of a batch's dense part.
        ids: keys of its sparse part.
        vocab_sizes: rows of each key's table before those of unknown ids; None: it has none.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        ids: Sequence[str],
        vocab_sizes: Sequence[int | None],
        device: torch.device | None = None,
    ) -> None:
        self.names = [*numbers, *ids]
        self._num_numbers = len(numbers)
        self.bins_FK = torch.zeros(len(self.names), NUM_BINS, dtype=torch.int64, device=device)
        self.unknown_S = torch.zeros(len(ids), dtype=torch.int64, device=device)
        edges = torch.linspace(-_EDGE, _EDGE, NUM_BINS - 1)
        self._edges = edges.to(device) if device is not None else edges
        sizes = [2**62 if size is None else size for size in vocab_sizes]
        self._sizes_S = torch.tensor(sizes, dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, dense_BN: Tensor, sparse: KeyedJaggedTensor, weights_B: Tensor) -> None:
        """Add the rows of a `Batch`; those of weight 0 are ignored. No host synchronization."""
        counted_B = weights_B > 0
        if self._num_numbers:
            bins_BN = torch.bucketize(dense_BN, self._edges, right=True)
            self._add(slice(0, self._num_numbers), bins_BN.t(), counted_B.expand(bins_BN.t().shape))
        lengths_SB = sparse.lengths().view(len(self._sizes_S), -1)
        num_ids = len(sparse.values())
        feature_L = torch.repeat_interleave(
            torch.arange(len(self._sizes_S), device=lengths_SB.device),
            lengths_SB.sum(1),
            output_size=num_ids,
        )
        row_L = torch.repeat_interleave(
            counted_B.repeat(len(lengths_SB)), lengths_SB.flatten(), output_size=num_ids
        )
        values_L = sparse.values().long()
        # The uppermost bits of the product, as an unsigned number.
        bins_L = ((values_L * _MIX) >> (64 - NUM_BINS.bit_length() + 1)) & (NUM_BINS - 1)
        flat = (feature_L + self._num_numbers) * NUM_BINS + bins_L
        self.bins_FK.view(-1).index_add_(0, flat, row_L.long())
        is_unknown_L = row_L & (values_L >= self._sizes_S[feature_L])
        self.unknown_S.index_add_(0, feature_L, is_unknown_L.long())

    def _add(self, features: slice, bins: Tensor, counted: Tensor) -> None:
        self.bins_FK[features].scatter_add_(1, bins, counted.long())

    def unknown_rates(self) -> dict[str, float]:
        """Return the share of unknown ids of each id feature; 0 without ids."""
        counts = self.bins_FK[self._num_numbers :].sum(1).clamp(min=1)
        rates = (self.unknown_S.double() / counts).tolist()
        return dict(zip(self.names[self._num_numbers :], rates, strict=True))


def population_stability(expected_FK: Tensor, observed_FK: Tensor) -> Tensor:
    """Return the population stability index of each feature, float64 [F].

    The sum over bins of (p - q) ln(p / q). Below .1 is commonly read as stable, above .25 as moved.
    Half a count is added to each bin, so that empty ones are finite. Of n and m draws from one
    distribution the expectation is about (K - 1) (1 / n + 1 / m).
    """
    p_FK, q_FK = (
        (counts_FK.double() + 0.5) / (counts_FK.double() + 0.5).sum(1, keepdim=True)
        for counts_FK in (expected_FK, observed_FK)
    )
    return ((p_FK - q_FK) * (p_FK / q_FK).log()).sum(1)
