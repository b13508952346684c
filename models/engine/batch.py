"""Sequences that advance together: their caches as one, padded on the left."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.engine.cache import join, select
from models.engine.network import Network


class Batch:
    """Rows in the order in which they joined. Every row has been prefilled."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._cache = network.new_cache()
        self._lengths: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Fill an empty batch; logits [rows, vocabulary] of each prompt's next token."""
        width = max(map(len, prompts))
        padded = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        self._lengths = [len(prompt) for prompt in prompts]
        return self._forward(padded)

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row; logits [rows, vocabulary] of the tokens after them."""
        self._lengths = [length + 1 for length in self._lengths]
        return self._forward([[token] for token in tokens])

    def join(self, other: "Batch") -> None:
        """Take over the rows of `other`, which is used up."""
        if not self._lengths:
            self._cache, self._lengths = other._cache, other._lengths
            return
        if other._lengths:
            shift = max(self._lengths) - max(other._lengths)
            join(self._cache, other._cache, shift=shift)
            self._lengths += other._lengths

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

    def _forward(self, columns: list[list[int]]) -> Tensor:
        tokens = torch.tensor(columns, device=self._network.device)
        return self._network.forward(tokens, self._lengths, self._cache)
