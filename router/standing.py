"""Whether a certificate holds just now, and what is served where it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.alarm import ALPHA, Alarm, Stretch
from router.certificate import Certificate
from router.events import Lapse

State = Literal[Lapse, "certified", "warned"]
ENOUGH = 7.0  # times 1 / epsilon, in audits: with so many, twice the certified loss is likely to be noticed
DAY_S = 86_400

Time = Annotated[float, Field(allow_inf_nan=False)]


class Watched(BaseModel):
    """What audits have shown since a certificate was given: the alarm, how many found something out since a time
    (Unix seconds), and when there were last enough of these to trust what was not noticed. Its JSON is all of its
    state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alarm: Alarm
    within_days: Annotated[int, Field(ge=1)]
    gathered: Annotated[int, Field(ge=0)] = 0
    since_s: Time | None = None
    enough_s: Time | None = None

    def after(self, stretch: Stretch, time_s: float | None) -> "Watched":
        """With an audit of that time folded too; None where its time is not to be believed. Enough audits are gathered
        within the certificate's greatest age, or gathered anew. Their exposure would be too much: it also has the
        audits in it that found nothing out."""
        alarm = self.alarm.after(stretch)
        if stretch.loss is None or time_s is None:
            return self.model_copy(update={"alarm": alarm})
        since_s = time_s if self.since_s is None else self.since_s
        gathered = self.gathered + 1
        if time_s - since_s > self.within_days * DAY_S:
            since_s, gathered = time_s, 1
        if gathered * alarm.epsilon < ENOUGH:
            return self.model_copy(update={"alarm": alarm, "since_s": since_s, "gathered": gathered})
        return self.model_copy(update={"alarm": alarm, "since_s": None, "gathered": 0, "enough_s": time_s})


def watch_of(certificate: Certificate, *, alpha: float = ALPHA) -> Watched:
    """The watch over a certificate, before its first audit; its alarm is to sound falsely with probability `alpha`, in
    (0, 1), at most."""
    watched = certificate.watched
    share = certificate.epsilon if watched is None else watched[1]
    return Watched(alarm=Alarm(epsilon=share, alpha=alpha), within_days=certificate.max_age_days)


@dataclass(frozen=True, slots=True)
class Standing:
    """A certificate's state, and why it is in it, in words."""

    state: State
    why: str

    @property
    def fallback(self) -> Lapse | None:
        """Why the cascade is served in mode `exact` instead; None while drafts may be accepted on the certificate's
        word."""
        return None if self.state == "certified" or self.state == "warned" else self.state

    @property
    def is_valid(self) -> bool:
        """Whether they may."""
        return self.fallback is None

    @property
    def is_watchful(self) -> bool:
        """Whether more should be audited."""
        return self.state == "warned"


def standing_of(
    certificate: Certificate,
    watched: Watched | None,
    now: datetime,
    *,
    changed: Sequence[str] = (),
    unread: bool = False,
    drifts: bool = False,
) -> Standing:
    """Where a certificate stands. `changed` says what is no longer as it was certified: models, artefact,
    configuration; `watched` is None where nobody audits; `unread`: what audits found is kept, and was not read
    yet, or not for long; `drifts`: confidences are spread otherwise than they were.

    An alarm stands until there is another certificate. What changed may change back.
    """
    if changed:
        return Standing("stale", "; ".join(changed))
    if watched is not None and watched.alarm.sounds:
        return Standing("alarmed", f"audits show {watched_by(certificate)}")
    if unread:
        return Standing("unread", "what audits have found cannot be read from the store")
    if now >= expiry(certificate, watched):
        return Standing("expired", f"{certificate.max_age_days} days have passed without enough audits")
    if watched is not None and watched.alarm.warns:
        return Standing("warned", f"audits look like {watched_by(certificate)}")
    if drifts:
        return Standing("warned", "confidences are spread otherwise than when it was certified")
    return Standing("certified", f"{certificate.loss} at most {certificate.epsilon:g}, by {certificate.grader}")


def watched_by(certificate: Certificate) -> str:
    """What the alarm is about, in words."""
    _, share = certificate.watched or ("", certificate.epsilon)
    return f"a disagreement with the final tier above {share:.3g}"


def expiry(certificate: Certificate, watched: Watched | None) -> datetime:
    """When the certificate holds no longer, unless more is audited before; in UTC."""
    certified = datetime.combine(certificate.expires_on, datetime.min.time(), UTC)
    if watched is None or watched.enough_s is None:
        return certified
    return max(certified, datetime.fromtimestamp(watched.enough_s, UTC) + timedelta(days=certificate.max_age_days))
