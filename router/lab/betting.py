"""The evidence that losses are rarer than epsilon, from audits that come one by one: an e-value that may be looked at
at any time. Pure. The mirror of `router.alarm`, which bets on the opposite.

Each request is audited, if its draft is accepted, with a propensity p that was fixed before it was answered, and is a
loss with probability m given all that was before. While m >= epsilon, a stake that is multiplied, request by request,
by exp(k epsilon p), and by 1 - k too where an audit finds a loss, for a k in [0, 1], does not grow on average:

    exp(k epsilon p) (1 - k p m) <= exp(k epsilon p - k p m) <= 1.

So it is a test supermartingale, whatever the propensities, also where they follow what was seen; and so is the mean of
such stakes over all k. Over n requests a stake is exp(k epsilon E) (1 - k)^L, of the exposure E, all propensities added
up, and the number L of losses found: nothing else counts. Its mean over k, evenly in [0, 1], is, with x = epsilon E,

    P(N > L) / (x P(N = L))    for N of Poisson's distribution with mean x.

By Ville's inequality (1939) the chance that it ever reaches 1 / delta is at most delta, where m >= epsilon: however
often it is looked at, and whenever that ends (test martingales: Shafer, Shen, Vereshchagin and Vovk, Statistical
Science 2011; mixtures: Robbins, 1970; betting: Waudby-Smith and Ramdas, JRSS B 2024). A tail of Poisson's or of the
binomial distribution promises that for a number of audits that was fixed before, and for no other.

It falls with each loss more and rises with exposure: who counts a loss too many, or too little exposure, errs on the
safe side. The few audits that are under way when one looks are not counted.

Nor need m be the same for all requests. With exp(k p m) in place of exp(k epsilon p) a stake does not grow on average
either, whatever m is; so its mean over k, the same formula at x = sum of p m, stays below 1 / delta all the time, but
for a chance of delta. Where at that time the evidence is 1 / delta at x = epsilon E, then sum of p m < epsilon E: the
mean loss of the requests that were seen, each weighted by its propensity, is below epsilon, also where it rose and fell
meanwhile.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammainc, gammaln

Floats = NDArray[np.float64]
MOST_EXPOSURE = 1e9
LEAST = 1e-12  # below, there is nothing yet but the losses


def log_e_value(losses: ArrayLike, exposure: ArrayLike, epsilon: float) -> Floats:
    """The natural logarithm of the evidence against a loss of `epsilon`, in (0, 1), or more, after so many `losses`
    >= 0 in so much `exposure` >= 0; float of their common shape, -inf where there is none to speak of. From
    log(1 / delta) on the loss is below epsilon, but for a chance of delta. Raises ValueError."""
    lost, seen = np.asarray(losses, dtype=float), np.asarray(exposure, dtype=float)
    if not 0 < epsilon < 1 or not ((lost >= 0) & (seen >= 0) & np.isfinite(lost) & np.isfinite(seen)).all():
        raise ValueError("losses and exposure are at least 0, and epsilon is above 0 and below 1")
    expected = np.maximum(epsilon * seen, LEAST)
    with np.errstate(divide="ignore"):
        tail = np.log(gammainc(lost + 1, expected))
    grown = expected - (lost + 1) * np.log(expected) + gammaln(lost + 1) + tail
    return np.asarray(np.where(epsilon * seen > LEAST, grown, -np.log1p(lost)), dtype=np.float64)


def exposure_needed(epsilon: float, delta: float, *, rate: float = 0.0) -> float | None:
    """About the least exposure that brings the evidence to 1 / delta where a share `rate` in [0, 1] of it is lost, to a
    hundredth; None: none does, or more than 10^9."""
    if rate >= epsilon:
        return None
    wanted = -math.log(delta)

    def is_enough(exposure: float) -> bool:
        return bool(log_e_value(rate * exposure, exposure, epsilon) >= wanted)

    enough = 1.0
    while not is_enough(enough):
        enough *= 2
        if enough > MOST_EXPOSURE:
            return None
    short = enough / 2
    while enough - short > enough / 100:
        middle = (enough + short) / 2
        short, enough = (short, middle) if is_enough(middle) else (middle, enough)
    return enough
