"""The function that tells a request's kind from its words, fitted on prompts whose kind is known."""

import numpy as np
import pytest

from router.lab.cluster_fitting import fit_centroids, found_groups
from router.lab.fitting import CannotFit

WORDS = {kind: [f"{kind}{place}" for place in range(60)] for kind in ("sums", "poems", "code")}
FILLING = [f"the{place}" for place in range(20)]


def prompts(count: int = 600, *, seed: int = 1, kinds: tuple[str, ...] = tuple(WORDS)) -> tuple[list[str], list[str]]:
    """Prompts of twelve words, half of them those of their kind; and the kinds."""
    chance = np.random.default_rng(seed)
    labels = [str(kind) for kind in chance.choice(kinds, count)]
    return [" ".join([*chance.choice(WORDS[kind], 6), *chance.choice(FILLING, 6)]) for kind in labels], labels


def test_prompts_that_it_was_not_fitted_on_are_told_apart() -> None:
    fitted = fit_centroids(*prompts())
    texts, labels = prompts(seed=2)

    told = [fitted.centroids.cluster(text) for text in texts]

    assert np.mean([one == label for one, label in zip(told, labels, strict=True)]) > 0.95
    assert all(one in (label, None) for one, label in zip(told, labels, strict=True))
    assert fit_centroids(*prompts()) == fitted


def test_a_kind_that_is_not_known_is_told_to_be_none() -> None:
    fitted = fit_centroids(*prompts(kinds=("sums", "poems")))
    strangers, _ = prompts(seed=2, kinds=("code",))

    assert np.mean([fitted.centroids.cluster(text) is None for text in strangers]) > 0.95


def test_some_prompts_of_a_known_kind_are_given_up_and_no_more() -> None:
    fitted = fit_centroids(*prompts(2000))
    fresh, _ = prompts(2000, seed=2)

    assert fitted.unseen.count(None) == 40
    assert 10 <= sum(fitted.centroids.cluster(text) is None for text in fresh) <= 80


def test_what_it_says_of_its_own_prompts_is_of_a_fit_that_has_not_seen_them() -> None:
    chance = np.random.default_rng(1)
    texts = [" ".join(f"w{word}" for word in chance.integers(0, 10**6, 12)) for _ in range(400)]
    labels = [str(kind) for kind in chance.choice(["a", "b"], 400)]

    fitted = fit_centroids(texts, labels)

    seen = np.mean([fitted.centroids.cluster(text) == label for text, label in zip(texts, labels, strict=True)])
    unseen = np.mean([one == label for one, label in zip(fitted.unseen, labels, strict=True)])
    assert seen > 0.9
    assert unseen < 0.6


def test_prompts_without_a_kind_are_in_no_centroid() -> None:
    texts, labels = prompts()
    others = [f"other{place} words{place}" for place in range(50)]

    fitted = fit_centroids([*texts, *others], [*labels, *[None] * 50])

    assert sorted(fitted.centroids.centroids) == ["code", "poems", "sums"]
    assert set(fitted.unseen[-50:]) == {None}


def test_groups_are_found_where_no_task_is_named() -> None:
    texts, labels = prompts(kinds=("sums", "sums", "sums", "poems", "poems", "code"))

    groups = found_groups(texts, 3)

    assert {(label, group) for label, group in zip(labels, groups, strict=True)} == {
        ("sums", "group-1"), ("poems", "group-2"), ("code", "group-3")}  # fmt: skip
    assert found_groups(texts, 3) == groups


@pytest.mark.parametrize("labels", [[None] * 10, [str(place) for place in range(40)]])
def test_no_kind_or_too_many_are_refused(labels: list[str | None]) -> None:
    with pytest.raises(CannotFit, match="kinds of request"):
        fit_centroids([f"words {place}" for place in range(len(labels))], labels)


def test_prompts_that_are_all_one_are_refused() -> None:
    with pytest.raises(CannotFit, match="different questions"):
        fit_centroids(["same"] * 100, ["a"] * 100)


@pytest.mark.parametrize("count", [1, 33])
def test_so_many_groups_are_refused(count: int) -> None:
    with pytest.raises(CannotFit, match="groups"):
        found_groups([f"words {place}" for place in range(100)], count)


def test_prompts_without_words_are_of_no_kind() -> None:
    texts, labels = prompts()

    fitted = fit_centroids([*texts, "?!", ""], [*labels, "sums", "sums"])

    assert fitted.unseen[-2:] == (None, None)
    assert found_groups([*texts, ""], 3)[-1].startswith("group-")
