"""What is known in production of one certificate: what audits and confidences say of it, and so where it stands. Each
certificate of a cascade has a watch of its own. Knows no store and no server."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from router.alarm import ALPHA, Stretch
from router.certificate import Certificate
from router.drift import Drift
from router.standing import DAY_S, Standing, standing_of, watch_of

WATCHFUL = 4.0


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
    sounds falsely. `changed` says what is not as it was certified just now."""

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
    ) -> None:
        self.certificate = certificate
        self.cluster = cluster
        self.artefact = artefact
        self.drift = drift
        self.watched = watch_of(certificate, alpha=alpha)
        self._unread = False
        self._changed = changed
        self._now = now

    def is_about(self, *, artefact: str | None, grader: str) -> bool:
        """Whether an audit of a draft that this artefact accepted, by this grader, tells of what the certificate lets
        audits watch: that the final tier says something else."""
        watched = self.certificate.watched
        return watched is not None and artefact == self.artefact and grader == watched[0]

    def audited(self, stretch: Stretch, time_s: float) -> None:
        """An audit of that time (Unix seconds) that is about the certificate, with the requests before it. A clock that
        is days ahead keeps no certificate alive."""
        is_past = time_s <= self._now().timestamp() + DAY_S
        self.watched = self.watched.after(stretch, time_s if is_past else None)

    def remembers(self) -> None:
        """What audits found before this process began is kept, and has not been read yet: where they may have raised
        the alarm, nothing is accepted before `read`."""
        self._unread = self.certificate.watched is not None

    def read(self) -> None:
        """All that audits have found by now is folded."""
        self._unread = False

    def scored(self, confidence: float) -> None:
        """The first tier's draft of a request was scored, in [0, 1]."""
        if self.drift is not None:
            self.drift.saw(confidence)

    @property
    def standing(self) -> Standing:
        """Where the certificate stands now."""
        drifts = self.drift is not None and self.drift.is_there
        return standing_of(
            self.certificate, self.watched, self._now(), changed=self._changed(), unread=self._unread, drifts=drifts
        )

    @property
    def vigilance(self) -> float:
        """How many times as many drafts are to be audited as usual."""
        return WATCHFUL if self.standing.is_watchful else 1.0
