"""The evidence that losses are rare: a fair game at epsilon, whatever the propensities and whenever one looks."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import poisson

from router.lab.betting import exposure_needed, log_e_value
from router.lab.certifying import delta_of_round

EPSILON = 0.1
DELTA = delta_of_round(0.1, 2)


def e_value(losses: int, exposure: float) -> float:
    return math.exp(log_e_value(losses, exposure, EPSILON))


@pytest.mark.parametrize(("losses", "exposure"), [(0, 10.0), (0, 1e-3), (3, 60.0), (5, 300.0), (40, 300.0), (2, 0.0)])
def test_it_is_the_mean_stake_over_all_bets(losses: int, exposure: float) -> None:
    mean, _ = quad(lambda k: math.exp(k * EPSILON * exposure) * (1 - k) ** losses, 0, 1)

    assert e_value(losses, exposure) == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(("losses", "exposure"), [(0, 10.0), (3, 60.0), (40, 300.0), (900, 20_000.0)])
def test_it_is_what_the_poisson_distribution_says(losses: int, exposure: float) -> None:
    expected = EPSILON * exposure
    log = poisson.logsf(losses, expected) - math.log(expected) - poisson.logpmf(losses, expected)

    assert log_e_value(losses, exposure, EPSILON) == pytest.approx(log, rel=1e-9)


def mean_of(propensities: tuple[float, ...], acceptance: float, loss: float) -> float:
    """The mean e-value over all that can happen to as many requests as there are propensities."""
    total = 0.0
    for outcomes in product((None, False, True), repeat=len(propensities)):
        chance = 1.0
        for propensity, outcome in zip(propensities, outcomes, strict=True):
            found = {True: loss * propensity, False: (acceptance - loss) * propensity}
            chance *= found.get(outcome, 1 - acceptance * propensity)
        total += chance * e_value(outcomes.count(True), sum(propensities))
    return total


@pytest.mark.parametrize("propensities", [(1.0,) * 6, (0.3,) * 6, (1.0, 0.2, 0.01, 0.5, 0.9, 0.05)])
@pytest.mark.parametrize("acceptance", [EPSILON, 0.4, 1.0])
def test_a_loss_of_epsilon_is_a_game_that_nobody_wins(propensities: tuple[float, ...], acceptance: float) -> None:
    mean = mean_of(propensities, acceptance, EPSILON)

    assert mean <= 1 + 1e-12
    assert mean >= 0.98, "and little is given away"


def test_a_larger_loss_is_a_losing_game_and_a_smaller_one_a_winning_one() -> None:
    values = [mean_of((0.5,) * 6, 0.6, loss) for loss in (0.0, 0.05, 0.1, 0.2, 0.4)]

    assert values == sorted(values, reverse=True)
    assert values[1] > 1 > values[3]


def test_propensities_that_follow_what_was_seen_win_nothing_either() -> None:
    def played(seen: list[tuple[float, bool]], chance: float) -> Iterator[tuple[list[tuple[float, bool]], float]]:
        if len(seen) == 8:
            yield seen, chance
            return
        propensity = 0.9 if not any(loss for _, loss in seen) else 0.1
        yield from played([*seen, (propensity, True)], chance * EPSILON * propensity)
        yield from played([*seen, (propensity, False)], chance * (1 - EPSILON * propensity))

    mean = math.fsum(
        chance * e_value(sum(loss for _, loss in seen), sum(propensity for propensity, _ in seen))
        for seen, chance in played([], 1.0)
    )

    assert mean <= 1 + 1e-12


@pytest.mark.parametrize("accepted", [1.0, 0.4])
def test_looking_after_every_audit_certifies_a_loss_of_epsilon_seldom(accepted: float) -> None:
    runs, audits = 4_000, 600
    draw = np.random.default_rng(3)
    losses, exposure = np.zeros(runs), np.zeros(runs)
    shown, tail = np.zeros(runs, bool), np.zeros(runs, bool)
    for _ in range(audits):
        propensity = np.where(losses > EPSILON * exposure, 0.9, 0.1)  # as a warning has it
        exposure += draw.geometric(accepted * propensity) * propensity
        losses += draw.random(runs) < EPSILON / accepted
        shown |= log_e_value(losses, exposure, EPSILON) >= -math.log(0.1)
        tail |= poisson.cdf(losses, EPSILON * exposure) <= 0.1

    assert shown.mean() <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / runs)
    assert shown.mean() > 0.02, "the bound is no empty one"
    assert tail.mean() > 0.2, "what is made for one look is not made for many"


@pytest.mark.parametrize("period", [40, 300])
def test_a_loss_that_comes_and_goes_is_not_certified_while_its_mean_is_above_epsilon(period: int) -> None:
    runs, requests, propensity = 4_000, 1_500, 0.5
    draw = np.random.default_rng(4)
    losses, shown = np.zeros(runs), np.zeros(runs, bool)
    for number in range(1, requests + 1):
        loss = 2 * EPSILON if (number - 1) // period % 2 == 0 else 0.0  # so that the mean is never below epsilon
        losses += draw.random(runs) < loss * propensity
        shown |= log_e_value(losses, number * propensity, EPSILON) >= -math.log(0.1)

    assert shown.mean() <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / runs)


def test_more_losses_and_less_exposure_are_less_evidence() -> None:
    losses, exposures = np.arange(60), np.linspace(0, 900, 61)

    assert (np.diff(log_e_value(losses, 400.0, EPSILON)) < 0).all()
    assert (np.diff(log_e_value(7, exposures, EPSILON)) > 0).all()


@pytest.mark.parametrize(("epsilon", "rate"), [(0.05, 0.0), (0.05, 0.02), (0.02, 0.01), (0.3, 0.1)])
def test_what_is_needed_is_enough_and_little_less_is_not(epsilon: float, rate: float) -> None:
    needed = exposure_needed(epsilon, DELTA, rate=rate)

    assert log_e_value(rate * needed, needed, epsilon) >= -math.log(DELTA)
    assert log_e_value(rate * needed * 0.97, needed * 0.97, epsilon) < -math.log(DELTA)


def test_no_number_of_audits_shows_what_is_not_so() -> None:
    assert exposure_needed(0.05, DELTA, rate=0.05) is None
    assert exposure_needed(0.05, DELTA, rate=0.05 - 1e-7) is None


def test_it_stays_a_number_however_much_is_seen() -> None:
    seen = log_e_value([0, 10**6, 10**6, 0], [1e8, 1e8, 0.0, 0.0], 0.02)

    assert (seen[:3] > [1.9e6, 3e5, -15]).all()
    assert seen[3] == 0
    assert not np.isnan(log_e_value(10**9, 1.0, 0.02))


@pytest.mark.parametrize(
    ("losses", "exposure", "epsilon"),
    [(-1, 1.0, 0.1), (1, -1.0, 0.1), (1, math.nan, 0.1), (1, math.inf, 0.1), (1, 1.0, 0.0), (1, 1.0, 1.0)],
)
def test_what_cannot_have_been_is_refused(losses: int, exposure: float, epsilon: float) -> None:
    with pytest.raises(ValueError, match="losses and exposure are at least 0"):
        log_e_value(losses, exposure, epsilon)
