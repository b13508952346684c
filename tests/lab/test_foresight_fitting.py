"""What a score before generation is worth, and the one of embeddings, where that is known."""

import numpy as np
import pytest

from router.lab.fitting import CannotFit
from router.lab.foresight_fitting import (
    area,
    fit_embedding_gain,
    worth_of,
    worth_of_embeddings,
    worth_of_words,
)  # fmt: skip


def questions(count: int = 600, *, told: float = 1.0, seed: int = 1) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Prompts, embeddings of which the first number tells as well as `told` where escalating gains, and the gains."""
    chance = np.random.default_rng(seed)
    hard = chance.random(count) < 0.5
    vectors = chance.normal(size=(count, 16))
    vectors[:, 0] += 4 * told * hard
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [f"prompt {place}" for place in range(count)], vectors, hard.astype(float)


def test_the_gain_of_an_order_is_the_area_above_a_random_one() -> None:
    assert area(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.1, 0.2, 0.3, 0.4])) == pytest.approx(1.5 / 16)
    assert area(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.4, 0.1, 0.2, 0.3])) == pytest.approx(-1.5 / 16)
    assert area(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == 0.0


def test_the_interval_holds_what_is_true_of_fresh_questions_nineteen_times_in_twenty() -> None:
    chance = np.random.default_rng(3)
    kept = 0
    for _ in range(200):
        confidence = chance.random(300)
        gains = (chance.random(300) > confidence).astype(float)
        worth = worth_of(gains, confidence)
        kept += worth.low <= 1 / 12 <= worth.high
    assert 0.9 <= kept / 200 <= 0.99


def test_embeddings_that_tell_earn_their_place_and_those_that_do_not_do_not() -> None:
    prompts, vectors, gains = questions()
    told, silent = worth_of_embeddings(prompts, vectors, gains), worth_of_embeddings(*questions(told=0.0))

    assert told.is_earned
    assert told.gain > 0.08
    assert not silent.is_earned
    assert not worth_of_words(prompts, gains).is_earned


def test_the_score_of_embeddings_tells_prompts_that_it_has_not_seen() -> None:
    prompts, vectors, gains = questions()
    fitted = fit_embedding_gain(vectors, gains, model="m")
    _, fresh, hard = questions(seed=2)

    said = np.array([fitted.confidence(tuple(one)) for one in fresh])

    assert said[hard == 1].mean() < said[hard == 0].mean() - 0.15
    assert worth_of(hard, said).gain == pytest.approx(worth_of_embeddings(prompts, vectors, gains).gain, abs=0.02)
    assert fit_embedding_gain(vectors, gains, model="m") == fitted


@pytest.mark.parametrize("count", [3, 20])
def test_too_few_prompts_are_refused(count: int) -> None:
    prompts, vectors, gains = questions(count)

    with pytest.raises(CannotFit):
        worth_of_embeddings(prompts, vectors, gains)
    with pytest.raises(CannotFit):
        fit_embedding_gain(vectors, gains, model="m")
