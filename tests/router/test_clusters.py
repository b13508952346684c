"""Which kind of request one is, by its words, as the way of a request asks it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from router.clusters import READ, Centroids
from router.words import prompt_shares

BUCKETS = 4096


def bucket(word: str) -> int:
    """Where a word is."""
    (place,) = prompt_shares(word, BUCKETS)
    return place


def telling(floor: float = 0.3, **words: str) -> Centroids:
    """A cluster for each word, which is its centroid."""
    centroids = {name: tuple(int(place == bucket(word)) for place in range(BUCKETS)) for name, word in words.items()}
    return Centroids(floor=floor, unit=1.0, rarity=(7,) * BUCKETS, centroids=centroids)


TELLING = telling(sums="add", poems="rhyme")


@pytest.mark.parametrize(
    ("prompt", "cluster"),
    [("Add!", "sums"), ("rhyme rhyme", "poems"), ("add add add rhyme", "sums"), ("hello", None), ("", None)],
)
def test_a_prompt_is_of_the_cluster_that_it_is_most_like(prompt: str, cluster: str | None) -> None:
    assert TELLING.cluster(prompt) == cluster


def test_below_the_floor_it_is_of_no_known_cluster() -> None:
    prompt = "add " + " ".join(f"w{place}" for place in range(40))
    likeness = TELLING.likeness(prompt)["sums"]

    assert 0 < likeness < 0.3
    assert TELLING.cluster(prompt) is None
    assert telling(likeness - 1e-9, sums="add").cluster(prompt) == "sums"


def test_without_words_it_is_of_none_even_where_nothing_is_too_little() -> None:
    assert telling(0.0, sums="add").cluster("?!") is None
    assert telling(0.0, sums="add").cluster("other") is None


def test_of_equals_the_first_is_taken() -> None:
    assert telling(first="same", second="same").cluster("same") == "first"


def test_the_end_of_a_long_prompt_is_what_counts() -> None:
    assert TELLING.cluster("rhyme " * READ + "add " * READ) == "sums"


@given(st.text(max_size=200))
def test_a_likeness_is_a_cosine(prompt: str) -> None:
    assert all(0 <= like <= 1 + 1e-9 for like in TELLING.likeness(prompt).values())


def test_rarity_weighs() -> None:
    rarity = [1] * BUCKETS
    rarity[bucket("rhyme")] = 3
    told = TELLING.model_copy(update={"rarity": tuple(rarity)})

    assert TELLING.cluster("add add rhyme") == "sums"
    assert told.cluster("add add rhyme") == "poems"


@pytest.mark.parametrize(
    "change",
    [{"floor": -0.1}, {"floor": 2.0}, {"unit": 0.0}, {"rarity": ()}, {"centroids": {}}, {"centroids": {"a": (1,)}},
     {"centroids": {str(place): (1, 2) for place in range(33)}}, {"more": 1}],
)  # fmt: skip
def test_what_is_no_such_function_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Centroids.model_validate({"floor": 0.1, "unit": 1.0, "rarity": (1, 2), "centroids": {"a": (1, 2)}, **change})
