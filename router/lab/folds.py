"""Splits of questions that share none: what is fitted on some folds is measured on the others. Deterministic."""

from collections.abc import Iterator, Sequence

import numpy as np

from router.lab.measures import Bools, Indices


def folds_of(keys: Sequence[str], folds: int, *, seed: int = 0) -> Indices:
    """(n,): each question's fold, 0 to folds - 1, as equal in number of keys as can be. Questions with one key, such as
    their text, are in one fold, so that none is fitted on a copy of what it is measured on. Raises ValueError where the
    keys are fewer than the folds."""
    distinct, places = np.unique(np.asarray(keys, dtype=str), return_inverse=True)
    if not 2 <= folds <= len(distinct):
        raise ValueError(f"{len(distinct)} different questions cannot be split into {folds} folds")
    assigned: Indices = np.random.default_rng(seed).permutation(np.arange(len(distinct)) % folds)
    return assigned[places]


def held_out(fold: Indices) -> Iterator[Bools]:
    """For each fold, which questions (n,) are in it."""
    return (fold == place for place in np.unique(fold))
