"""The audits that a certificate can be renewed from, as the lab counts them; or why there are none."""

import math
from collections.abc import Sequence

from router.alarm import Stretch
from router.lab.renewing import Audited, Line
from router.standing import Watched, watch_of
from server.store.records import Audit, Placed


class NotNow(Exception):
    """The audits that there are do not do."""


def is_about(one: Placed, line: Line, grader: str) -> bool:
    """Whether an audit may be used: of a draft that this certificate of this artefact accepted, by this grader, and not
    used in an earlier round."""
    audit = one.audit
    of_line = audit.artefact == line.artefact and audit.cluster == line.cluster
    return of_line and audit.grader == grader and one.place > line.after


def none_of(placed: Sequence[Placed], line: Line, grader: str) -> str:
    """Why there are no audits to use, and what to do."""
    own = [one.audit for one in placed if one.audit.artefact == line.artefact]
    found = f"{len(placed) - len(own)} are of other artefacts or modes"
    found += f", {sum(one.grader != grader for one in own)} by other graders than {grader}"
    if line.cluster is not None:
        found += f", {sum(one.cluster != line.cluster for one in own)} of other tasks"
    if line.after and any(one.place <= line.after for one in placed):
        found += f", and places up to {line.after} were there in the round before"
    return (
        f"of the {len(placed)} audits in the store none is of drafts that this certificate accepted ({found}): serve it"
        " in mode 'certified', with audits on"
    )


def refuse_alarmed(line: Line, own: Sequence[Placed], *, alpha: float) -> None:
    """Raise NotNow where these audits speak against the certificate, whose alarm is to sound falsely with probability
    `alpha` at most: what came before cannot speak for how it is now, and a renewal would forget what they show."""
    watched = watch_of(line.certificate, alpha=alpha)
    for one in own:
        watched = folded_in(watched, one.audit)
    if watched.alarm.sounds:
        raise NotNow(
            "the certificate's alarm has sounded: audits show that requests are not what they were, and since then none"
            " was accepted that could be audited: record fresh questions, and tune"
        )
    if watched.alarm.warns:
        raise NotNow(
            f"these audits look like too many losses (evidence {watched.alarm.evidence:.2f}, the alarm is at"
            f" {watched.alarm.alarm_at:.2f}): a renewal would forget that: wait until it falls, or the alarm sounds"
        )


def folded_in(watched: Watched, audit: Audit) -> Watched:
    """As the gateway folds it; one that cannot be is left out."""
    try:
        stretch = None if audit.exposure is None else Stretch(audit.exposure, audit.propensity, audit.loss)
    except ValueError:
        return watched
    return watched if stretch is None else watched.after(stretch, None)


def audited_of(one: Placed) -> Audited:
    """As the lab counts it. Of one that an earlier version kept, no exposure is sure."""
    audit = one.audit
    exposure, threshold = 0.0, math.inf
    if audit.exposure is not None and audit.unseen is not None and audit.threshold is not None:
        exposure, threshold = audit.exposure - audit.unseen, audit.threshold
    if not (math.isfinite(exposure) and threshold >= 0):
        exposure, threshold = 0.0, math.inf
    return Audited(audit.id, one.place, audit.time, exposure, threshold, audit.confidence, audit.loss is not False)
