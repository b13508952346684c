"""The score before generation, fitted on prompts whose words tell where the final tier helps."""

import numpy as np
import pytest

from router.lab.fitting import CannotFit
from router.lab.folds import folds_of
from router.lab.measures import Outcomes, apgr, curve_of, ranking_of
from router.lab.skip_fitting import cross_fitted_gain, fit_gain, gains_of

WORDS = [f"word{place}" for place in range(200)]


def prompts(count: int = 600, *, seed: int = 1) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Prompts of ten words; "tricky" ones are too much for the drafter, nine times in ten."""
    chance = np.random.default_rng(seed)
    tricky = chance.random(count) < 0.5
    texts = [" ".join([*chance.choice(WORDS, 10), "tricky" if one else "plain"]) for one in tricky]
    return texts, np.where(tricky, chance.random(count) < 0.1, chance.random(count) < 0.9), np.ones(count, dtype=bool)


def test_gains_are_what_escalating_changes() -> None:
    draft, final = np.array([0, 0, 1, 1], dtype=bool), np.array([0, 1, 0, 1], dtype=bool)

    assert gains_of(draft, final).tolist() == [0.0, 1.0, -1.0, 0.0]


def test_the_score_tells_where_the_final_tier_helps() -> None:
    texts, draft, final = prompts()

    scorer = fit_gain(texts, gains_of(draft, final), buckets=4096)

    assert scorer.gain("a tricky one") > scorer.gain("a plain one") + 0.1
    assert scorer.confidence("a plain one") > scorer.confidence("a tricky one")
    assert fit_gain(texts, gains_of(draft, final), buckets=4096) == scorer


def test_questions_that_were_not_fitted_on_are_told_apart_too() -> None:
    texts, draft, final = prompts()
    outcomes = Outcomes(draft, final, np.ones(600), np.ones(600))

    fold = folds_of(texts, 5)
    confidence = cross_fitted_gain(texts, gains_of(draft, final), fold, buckets=4096)
    flipped = np.where(fold == 0, ~draft, draft)
    other = cross_fitted_gain(texts, gains_of(flipped, final), fold, buckets=4096)

    assert apgr(curve_of(ranking_of(confidence), outcomes)) > 0.66  # 0.70 with every tricky one first
    assert np.array_equal(confidence[fold == 0], other[fold == 0])


def test_the_whole_score_says_what_the_fit_measured() -> None:
    texts, draft, final = prompts(100)
    gains = gains_of(draft, final)
    fold = np.r_[np.zeros(50, dtype=np.intp), np.ones(50, dtype=np.intp)]

    scorer = fit_gain(texts[50:], gains[50:], buckets=512)

    assert cross_fitted_gain(texts, gains, fold, buckets=512)[:50] == pytest.approx(
        [scorer.confidence(text) for text in texts[:50]]
    )


def test_a_file_of_it_is_small() -> None:
    texts, draft, final = prompts(100)

    assert len(fit_gain(texts, gains_of(draft, final)).model_dump_json()) < 1_000_000


def test_too_little_is_an_error() -> None:
    texts, draft, final = prompts(100)

    with pytest.raises(CannotFit, match="at least 25 prompts"):
        fit_gain(texts[:24], gains_of(draft, final)[:24])
    with pytest.raises(CannotFit, match="at least 25 prompts"):
        fit_gain(texts, np.zeros(100))
    with pytest.raises(CannotFit, match="as many gains as prompts"):
        fit_gain(texts[:50], gains_of(draft, final))


def test_prompts_without_words_are_no_trouble() -> None:
    _, draft, final = prompts(60)

    scorer = fit_gain(["?"] * 60, gains_of(draft, final), buckets=16)

    assert scorer.gain("?") == pytest.approx(gains_of(draft, final).mean())
