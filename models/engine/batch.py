"""Sequences that advance together: their caches as one, padded on the left."""

from collections.abc import Sequence

from torch import Tensor

from models.engine.cache import join, part, retract, select
from models.engine.network import Network


class Batch:
    """Rows in the order in which they joined. Every row has been prefilled, and ends in the last column."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._cache = network.new_cache()
        self._lengths: list[int] = []
        self._unsettled = 0

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Fill an empty batch; logits [rows, 1, vocabulary] after each prompt."""
        self._lengths = [len(prompt) for prompt in prompts]
        width = max(self._lengths)
        padded = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        starts = [width - length for length in self._lengths]
        return self._network.forward(padded, starts, [width] * len(prompts), self._cache, answers=1)

    def advance(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Append tokens to each row, at least one; logits [rows, columns, vocabulary] after each of them.

        Rows with fewer tokens are padded on the right, so `settle` has to come next.
        """
        self._unsettled = columns = max(map(len, tokens))
        width = max(self._lengths)
        padded = [[*row, *[0] * (columns - len(row))] for row in tokens]
        starts = [width - length for length in self._lengths]
        ends = [width + len(row) for row in tokens]
        return self._network.forward(padded, starts, ends, self._cache, answers=columns)

    def settle(self, kept: Sequence[int]) -> None:
        """Keep this many of the tokens just appended to each row, at least one, and drop the others."""
        excess = [self._unsettled - count for count in kept]
        width = max(self._lengths) + self._unsettled - min(excess)
        self._lengths = [length + count for length, count in zip(self._lengths, kept, strict=True)]
        if any(excess):
            retract(self._cache, excess, cut=width - max(self._lengths))

    def join(self, other: "Batch") -> None:
        """Take over the rows of `other`, which is used up."""
        if not self._lengths:
            self._cache, self._lengths = other._cache, other._lengths
            return
        if other._lengths:
            shift = max(self._lengths) - max(other._lengths)
            join(self._cache, other._cache, shift=shift)
            self._lengths += other._lengths

    def part(self, rows: Sequence[int]) -> "Batch":
        """Some rows as a batch of their own; they stay in this one as well."""
        taken = Batch(self._network)
        taken._lengths = [self._lengths[row] for row in rows]
        taken._cache = part(self._cache, rows, cut=max(self._lengths) - max(taken._lengths))
        return taken

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows, and the columns that only they needed."""
        if len(rows) == len(self._lengths):
            return
        if not rows:
            self._cache, self._lengths = self._network.new_cache(), []
            return
        width = max(self._lengths)
        self._lengths = [self._lengths[row] for row in rows]
        select(self._cache, rows, cut=width - max(self._lengths))
