"""What is known in production of one certificate: what audits and confidences say of it, and so where it stands. Each
certificate of a cascade has a watch of its own. Knows no store and no server."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from router.alarm import ALPHA, Stretch
from router.certificate import Certificate
from router.drift import Drift
from router.standing import DAY_S, Standing, Watched, standing_of, watch_of

WATCHFUL = 4.0

# How long a certificate stands while what other gateways' audits find cannot be read. Long enough for a database to
# fail over or be started anew, which must not put all requests on the final tier. It costs at most what is accepted in
# that time after an alarm that is not seen: of r requests a second 300 r. The alarm itself notices three times a loss
# of 0.02 within 120 audits, at a rate of 2 % of 6,000 drafts: up to 20 requests a second that is more.
GRACE_S = 300.0


def nothing() -> Sequence[str]:
    """Where nothing can change."""
    return ()


def now_utc() -> datetime:
    """The time."""
    return datetime.now(UTC)


def alpha_of_cluster(certificates: int) -> float:
    """The error of each of so many alarms, of at least 1 certificate: theirs together is ALPHA at most (Bonferroni), as
    delta is divided among the certificates."""
    return ALPHA / max(1, certificates)


class Watch:
    """Over the certificate of one cluster, or of the global fit (None). `artefact` is the fingerprint of the policy
    that it is for: other audits are not folded. `alpha`, in (0, 1), is the probability at most that its alarm ever
    sounds falsely. `changed` says what is not as it was certified just now; `clock_s` is a monotonic clock.

    The alarm folds audits in the order that the store gives them, the same for all gateways. The audits of this one
    that have no place there yet are folded behind those, and anew when they have got one: so the store's order decides
    in the end, and while it is away this gateway believes its own audits.
    """

    def __init__(
        self,
        certificate: Certificate,
        *,
        cluster: str | None = None,
        artefact: str | None = None,
        alpha: float = ALPHA,
        drift: Drift | None = None,
        changed: Callable[[], Sequence[str]] = nothing,
        now: Callable[[], datetime] = now_utc,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.certificate = certificate
        self.cluster = cluster
        self.artefact = artefact
        self.drift = drift
        self._placed = watch_of(certificate, alpha=alpha)
        self._unplaced = OrderedDict[str, tuple[Stretch, float | None]]()
        self._watched: Watched | None = self._placed
        self._remembers = False
        self._read_s: float | None = None
        self._changed = changed
        self._now = now
        self._clock_s = clock_s

    @property
    def watched(self) -> Watched:
        """What audits have shown, with those that have no place yet."""
        if self._watched is None:
            self._watched = self._placed
            for stretch, time_s in self._unplaced.values():
                self._watched = self._watched.after(stretch, time_s)
        return self._watched

    def is_about(self, *, artefact: str | None, grader: str) -> bool:
        """Whether an audit of a draft that this artefact accepted, by this grader, tells of what the certificate lets
        audits watch: that the final tier says something else."""
        watched = self.certificate.watched
        return watched is not None and artefact == self.artefact and grader == watched[0]

    def kept(self, audit: str, stretch: Stretch, time_s: float) -> None:
        """An audit of this gateway, by its id, that is about the certificate and will have a place in the store's
        order, with the requests before it; of that time (Unix seconds)."""
        self._unplaced[audit] = (stretch, self._believed(time_s))
        self._watched = None

    def audited(self, stretch: Stretch, time_s: float, *, audit: str | None = None) -> None:
        """The next audit in the store's order that is about the certificate, of that time (Unix seconds), with the
        requests before it. Those of this gateway get places in their own order: what was before it and has none was
        lost."""
        self._placed = self._placed.after(stretch, self._believed(time_s))
        while audit in self._unplaced:
            self._unplaced.popitem(last=False)
        self._watched = None

    def remembers(self) -> None:
        """What audits find is kept in a store that others write to, too, and what they found before this process began
        has not been read yet: where they may have raised the alarm, nothing is accepted before `read`, nor where that
        is long ago."""
        self._remembers = self.certificate.watched is not None

    def read(self) -> None:
        """All that audits have found by now is folded."""
        self._read_s = self._clock_s()

    @property
    def read_age_s(self) -> float | None:
        """Seconds since that was so; None where it never was, or where there is nothing to read."""
        return self._clock_s() - self._read_s if self._remembers and self._read_s is not None else None

    def scored(self, confidence: float) -> None:
        """The first tier's draft of a request was scored, in [0, 1]."""
        if self.drift is not None:
            self.drift.saw(confidence)

    @property
    def standing(self) -> Standing:
        """Where the certificate stands now."""
        return standing_of(
            self.certificate, self.watched, self._now(), changed=self._changed(), unread=self._is_unread,
            drifts=self._drifts,
        )  # fmt: skip

    @property
    def _is_unread(self) -> bool:
        return self._remembers and (self._read_s is None or self._clock_s() - self._read_s > GRACE_S)

    def _believed(self, time_s: float) -> float | None:
        """An audit's time; a clock that is days ahead keeps no certificate alive."""
        return time_s if time_s <= self._now().timestamp() + DAY_S else None

    @property
    def vigilance(self) -> float:
        """How many times as many drafts are to be audited as usual."""
        gives_reason = self._drifts or self.watched.alarm.warns
        return WATCHFUL if gives_reason and self.standing.is_watchful else 1.0

    @property
    def _drifts(self) -> bool:
        return self.drift is not None and self.drift.is_there
