"""Key-value caches of several rows as one: rows join on the left-padded grid, go back in it, and leave it."""

from collections.abc import Sequence
from copy import copy
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import (
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionLayer,
)

_JOINABLE: Final = (
    DynamicLayer,
    DummyLayer,
    LinearAttentionLayer,
    LinearAttentionAndFullAttentionLayer,
)
_RETRACTABLE: Final = (DynamicLayer, DummyLayer)


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache that keeps every column: windows are left to the attention mask."""
    cache = DynamicCache(config=config)
    cache.layers = [DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer for layer in cache.layers]
    return cache


def is_joinable(cache: DynamicCache) -> bool:
    """Whether the functions below know all its layers; if not, it can hold one row only."""
    return all(type(layer) in _JOINABLE for layer in cache.layers)


def is_recurrent(cache: DynamicCache) -> bool:
    """Whether all that its layers keep is a state, and nothing by column."""
    return all(type(layer) is LinearAttentionLayer for layer in cache.layers)


def is_retractable(cache: DynamicCache) -> bool:
    """Whether `retract` knows all its layers: a state that is not kept by column cannot go back."""
    return all(type(layer) in _RETRACTABLE for layer in cache.layers)


def join(cache: DynamicCache, other: DynamicCache, *, shift: int) -> None:
    """Append the rows of `other`, which is `shift` columns narrower (wider if negative)."""
    for ours, theirs in zip(cache.layers, other.layers, strict=True):
        if isinstance(ours, DynamicLayer) and isinstance(theirs, DynamicLayer):
            ours.keys = _stack(ours.keys, theirs.keys, shift)
            ours.values = _stack(ours.values, theirs.values, shift)
        if isinstance(ours, LinearAttentionLayer) and isinstance(theirs, LinearAttentionLayer):
            _append(ours.conv_states, theirs.conv_states)
            _append(ours.recurrent_states, theirs.recurrent_states)


def select(cache: DynamicCache, rows: Sequence[int], *, cut: int) -> None:
    """Keep these rows, without their first `cut` columns."""
    at = list(rows)
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
            layer.keys = layer.keys[at, :, cut:]
            layer.values = layer.values[at, :, cut:]
        if isinstance(layer, LinearAttentionLayer):
            layer.conv_states = _picked(layer.conv_states, at)
            layer.recurrent_states = _picked(layer.recurrent_states, at)


def part(cache: DynamicCache, rows: Sequence[int], *, cut: int) -> DynamicCache:
    """A cache of its own with what `select` would keep."""
    taken = copy(cache)
    taken.layers = [copy(layer) for layer in cache.layers]
    select(taken, rows, cut=cut)
    return taken


def retract(cache: DynamicCache, excess: Sequence[int], *, cut: int) -> None:
    """Drop the last `excess` columns of each row, move the row to the right edge again, and drop `cut` columns there
    on the left."""
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
            layer.keys = _retracted(layer.keys, excess)[:, :, cut:]
            layer.values = _retracted(layer.values, excess)[:, :, cut:]


def _retracted(columns: Tensor, excess: Sequence[int]) -> Tensor:
    least = min(excess)
    columns = columns[:, :, : columns.shape[2] - least]
    for row, dropped in enumerate(excess):
        if dropped > least:
            # What is dropped comes round to before the row's start, where it is masked.
            columns[row] = columns[row].roll(dropped - least, dims=1)
    return columns


def _stack(ours: Tensor | None, theirs: Tensor | None, shift: int) -> Tensor | None:
    if ours is None or theirs is None:
        return None
    wider = pad(ours, (0, 0, max(0, -shift), 0))
    return torch.cat([wider, pad(theirs, (0, 0, max(0, shift), 0))])


def _append(ours: dict[int, Tensor | None], theirs: dict[int, Tensor | None]) -> None:
    for at, state in ours.items():
        more = theirs[at]
        if state is not None and more is not None:
            ours[at] = torch.cat([state, more])


def _picked(states: dict[int, Tensor | None], rows: list[int]) -> dict[int, Tensor | None]:
    return {at: None if state is None else state[rows] for at, state in states.items()}
