"""Many prompts' hashed words at once, as rows of a sparse matrix, and how rare they are."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from router.lab.measures import Floats, Indices
from router.words import LARGEST, prompt_shares


def rows_of(prompts: Sequence[str], buckets: int) -> sparse.csr_array:
    """(n, buckets): each prompt's shares."""
    shares = [prompt_shares(prompt, buckets) for prompt in prompts]
    ends = np.cumsum([0, *map(len, shares)], dtype=np.int32)  # as narrow as the columns: scikit-learn takes no other
    columns = np.fromiter((bucket for one in shares for bucket in one), dtype=np.int32, count=int(ends[-1]))
    values = np.fromiter((value for one in shares for value in one.values()), dtype=np.float64, count=int(ends[-1]))
    return sparse.csr_array((values, columns, ends), shape=(len(prompts), buckets))


def rarity_of(rows: sparse.csr_array) -> Floats:
    """(buckets,): 1 + ln((1 + n) / (1 + prompts with it)), smoothed inverse document frequency."""
    prompts = np.bincount(rows.indices, minlength=rows.shape[1])
    rarity: Floats = np.log((1 + rows.shape[0]) / (1 + prompts)) + 1
    return rarity


def in_units(weights: Floats) -> tuple[float, Indices]:
    """A unit, and the weights as whole numbers of it, of the same shape: at most 32,767 of either sign."""
    unit = max(float(np.abs(weights).max()) / LARGEST, math.ulp(1.0))
    return unit, np.round(weights / unit).astype(np.intp)
