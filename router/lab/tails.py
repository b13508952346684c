"""The exact binomial test: what so many losses of so many questions say about the expected loss. Pure.

Its p-value is the binomial tail, which inverts Clopper and Pearson's upper limit (Biometrika 1934).
"""

import math
from functools import lru_cache

from scipy.stats import beta, binom

MOST_QUESTIONS = 10**8


def p_value(losses: int, questions: int, epsilon: float) -> float:
    """P(so few losses or fewer | the expected loss is epsilon), in [0, 1], of 0 <= losses <= questions."""
    return float(binom.cdf(losses, questions, epsilon))


@lru_cache(maxsize=1024)
def most_losses(questions: int, epsilon: float, delta: float) -> int:
    """The most losses whose p-value is at most delta; -1 where not even none would do."""
    least = int(binom.ppf(delta, questions, epsilon))
    return least if p_value(least, questions, epsilon) <= delta else least - 1


def least_epsilon(losses: int, questions: int, delta: float) -> float:
    """The least epsilon that so many losses certify: Clopper and Pearson's upper limit at 1 - delta, in (0, 1]."""
    return 1.0 if losses >= questions else float(beta.ppf(1 - delta, losses + 1, questions - losses))


def fewest_questions(epsilon: float, delta: float, *, rate: float = 0.0) -> int | None:
    """About how many questions certify epsilon where a share of `rate` in [0, 1] is lost; with none lost, exactly the
    fewest. None: no number of them, or more than 10^8."""
    if rate >= epsilon:
        return None

    def is_enough(questions: int) -> bool:
        return p_value(math.ceil(rate * questions), questions, epsilon) <= delta

    enough = 1
    while not is_enough(enough):
        enough *= 2
        if enough > MOST_QUESTIONS:
            return None
    short = enough // 2
    while enough - short > 1:
        middle = (enough + short) // 2
        short, enough = (short, middle) if is_enough(middle) else (middle, enough)
    return enough
