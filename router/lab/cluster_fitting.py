"""Fits the function that tells from a request's words which kind it is: to the tasks that questions name, or to groups
that are found in them. Deterministic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from router.clusters import MOST_CLUSTERS, READ, Centroids
from router.lab.fitting import CannotFit
from router.lab.folds import folds_of, held_out
from router.lab.measures import Floats
from router.lab.word_rows import in_units, rarity_of, rows_of

BUCKETS = 8_192
FOLDS = 5
UNKNOWN = 0.02  # so many of the questions' own kind are given up, for those of another that are thereby told
STARTS = 4
FEWEST_GROUPS = 2


@dataclass(frozen=True, slots=True)
class Clustered:
    """The function; and what it says of each of the prompts that it was fitted to, by a fit that has not seen them."""

    centroids: Centroids
    unseen: tuple[str | None, ...]


def fit_centroids(
    prompts: Sequence[str], labels: Sequence[str | None], *, buckets: int = BUCKETS, seed: int = 0
) -> Clustered:
    """The mean of each label's prompts. The floor is the likeness to the nearest centroid that 2 % of the labelled
    prompts stay below, each measured by a fit to four fifths that do not have it. Prompts with label None are of no
    kind: they say only which words are rare. Raises CannotFit where the prompts differ too little, or the labels are
    none or more than 32."""
    names = sorted({label for label in labels if label is not None})
    if not 1 <= len(names) <= MOST_CLUSTERS:
        raise CannotFit(f"{len(names)} kinds of request: from 1 to {MOST_CLUSTERS} can be told apart")
    rows, codes = rows_of([prompt[-READ:] for prompt in prompts], buckets), codes_of(labels, names)
    try:
        fold = folds_of(prompts, FOLDS, seed=seed)
    except ValueError as few:
        raise CannotFit(str(few)) from few
    nearest, likeness = np.empty(len(prompts), dtype=np.intp), np.empty(len(prompts))
    for held in held_out(fold):
        rarity, means = means_of(rows[~held], codes[~held], len(names))
        alike = likeness_of(rows[held], rarity, means)
        nearest[held], likeness[held] = alike.argmax(axis=1), alike.max(axis=1)
    floor = float(np.clip(np.quantile(likeness[codes >= 0], UNKNOWN), 0.0, 1.0))
    unseen = tuple(
        names[place] if like > 0 and like >= floor else None for place, like in zip(nearest, likeness, strict=True)
    )
    return Clustered(frozen(names, floor, *means_of(rows, codes, len(names))), unseen)


def frozen(names: Sequence[str], floor: float, rarity: Floats, means: Floats) -> Centroids:
    """The function, rounded to whole units."""
    _, rarities = in_units(rarity)
    unit, weights = in_units(means)
    centroids = {name: tuple(one.tolist()) for name, one in zip(names, weights, strict=True)}
    return Centroids(floor=floor, unit=unit, rarity=tuple(rarities.tolist()), centroids=centroids)


def found_groups(prompts: Sequence[str], count: int, *, buckets: int = BUCKETS, seed: int = 0) -> tuple[str, ...]:
    """The group of each prompt, of `count` that k-means finds in their words: `group-1` is the largest. Raises
    CannotFit where the count is not from 2 to 32, or the prompts are fewer."""
    if not FEWEST_GROUPS <= count <= min(MOST_CLUSTERS, len(set(prompts))):
        raise CannotFit(f"{count} groups: from 2 to {MOST_CLUSTERS} can be found, in as many different prompts")
    rows = rows_of([prompt[-READ:] for prompt in prompts], buckets)
    alike = normalize(rows @ sparse.diags_array(rarity_of(rows)))
    with threadpool_limits(1):
        found = KMeans(count, n_init=STARTS, random_state=seed).fit_predict(alike)
    by_size = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    rank = np.argsort(by_size)
    return tuple(f"group-{rank[one] + 1}" for one in found)


def codes_of(labels: Sequence[str | None], names: Sequence[str]) -> np.ndarray:
    """(n,): the place of each label among the names; -1 of those that have none."""
    places = {name: place for place, name in enumerate(names)}
    return np.array([-1 if label is None else places[label] for label in labels], dtype=np.intp)


def means_of(rows: sparse.csr_array, codes: np.ndarray, count: int) -> tuple[Floats, Floats]:
    """(buckets,): how rare each is; (count, buckets): each kind's centroid, of length 1, or of zeros without rows."""
    rarity = rarity_of(rows)
    weighed = normalize(rows @ sparse.diags_array(rarity))
    mine = codes >= 0
    which = sparse.csr_array((np.ones(mine.sum()), (codes[mine], np.flatnonzero(mine))), shape=(count, rows.shape[0]))
    means: Floats = normalize((which @ weighed).toarray())
    return rarity, means


def likeness_of(rows: sparse.csr_array, rarity: Floats, means: Floats) -> Floats:
    """(n, kinds): what `Centroids.likeness` says of shares (n, buckets), up to rounding."""
    alike: Floats = normalize(rows @ sparse.diags_array(rarity)) @ means.T
    return alike
