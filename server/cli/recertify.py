"""`smallfirst recertify`: from the decision log's audits to the artefact of the next round."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from router.certificate import Certificate
from router.lab.certifying import CannotCertify, Wanted
from router.lab.renewing import Line, NotYet, audits_needed, renew, seen_at
from router.trust import Fit, Trust
from router.watch import alpha_of_cluster
from server.cli.artefact_file import write_artefact
from server.cli.console import WRONG_USE, complain
from server.cli.renewable import NotNow, audited_of, is_about, none_of, refuse_alarmed
from server.settings.reading import SettingsError, read_settings
from server.settings.schema import Settings
from server.store.home import home_of, state_folder
from server.store.reading import audits_of
from server.store.records import Placed, StoreDown


class CannotRenew(Exception):
    """What was asked for cannot be renewed from audits, whatever they say."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """A certificate before and after; the audits that say so, and about how many more would do for the threshold that
    served, where the new one is stricter."""

    line: Line
    certificate: Certificate
    audits: Sequence[Placed]
    more: int | None


def run_recertify(
    config: Path,
    cascade: str | None,
    *,
    epsilon: float | None,
    out: Path | None,
    environment: Mapping[str, str],
    tasks: Sequence[str] = (),
) -> int:
    """Say what the audits certify, and write the artefact where a file is named; 1 where they do not do, 2 where there
    is nothing to renew."""
    try:
        settings = read_settings(config, environment)
        name = chosen(settings, cascade)
        trust = trust_of(name, settings)
        lines = lines_of(trust, tasks)
        wanted = [wanted_of(line, epsilon) for line in lines]
        placed, now = audits_in(settings, name, environment), datetime.now(UTC)
        refuse_any_alarmed(trust, placed)
        done = [renewed(line, one, placed, now) for line, one in zip(lines, wanted, strict=True)]
        if out is not None:
            write_artefact(with_certificates(trust, done), out)
    except SettingsError as wrong:
        complain(wrong.mistakes)
        return WRONG_USE
    except (CannotRenew, CannotCertify, OSError) as wrong:
        complain([str(wrong)])
        return WRONG_USE
    except StoreDown as down:
        complain([f"the store cannot be read: {down}: a gateway that starts brings its tables up to date"])
        return 1
    except NotNow as wrong:
        complain([str(wrong)])
        return 1
    console = Console(highlight=False, soft_wrap=True)
    for said in (*(said for one in done for said in told(name, one)), *left(trust, done), written(name, out)):
        console.print(said, markup=False)
    return 0


def chosen(settings: Settings, name: str | None) -> str:
    """The cascade of that name, or the only one. Raises CannotRenew."""
    names = ", ".join(settings.cascades) or "none"
    if name is None and len(settings.cascades) != 1:
        raise CannotRenew(f"say which cascade: smallfirst recertify CONFIG CASCADE (there are: {names})")
    if name is not None and name not in settings.cascades:
        raise CannotRenew(f"there is no cascade {name!r} (there are: {names})")
    return name or next(iter(settings.cascades))


def trust_of(name: str, settings: Settings) -> Trust:
    """The artefact of a cascade. Raises CannotRenew where audits cannot renew it."""
    cascade = settings.cascades[name]
    if cascade.trust is None:
        raise CannotRenew(f"cascades.{name}: there is no artefact in trust: make one with `smallfirst tune`")
    return cascade.trust


def lines_of(trust: Trust, tasks: Sequence[str] = ()) -> Sequence[Line]:
    """What is renewed: the certificate that serves; of those by task the ones that are named, or all. Raises
    CannotRenew."""
    if not trust.clusters:
        if tasks:
            raise CannotRenew("the artefact has no certificates by task: leave --task out")
        return [line_of(trust, trust.fit, None)]
    known = ", ".join(sorted(trust.clusters))
    for task in tasks:
        if task not in trust.clusters:
            raise CannotRenew(f"the artefact has no certificate for {task!r} (there are: {known})")
    certified = [task for task, fit in trust.clusters.items() if fit.certificate is not None]
    return [line_of(trust, trust.clusters[task], task) for task in dict.fromkeys(tasks or certified or trust.clusters)]


def line_of(trust: Trust, fit: Fit, cluster: str | None) -> Line:
    """One certificate's. Raises CannotRenew."""
    whose = "" if cluster is None else f" for {cluster}"
    if fit.certificate is None:
        raise CannotRenew(f"the artefact has no certificate{whose}: `smallfirst tune --epsilon` makes the first one")
    if fit.certificate.watched is None:
        raise CannotRenew(f"no audits watch the certificate{whose}: tune again with --audit-grader")
    return Line(fit.certificate, trust.identity, trust.verdict, cluster)


def wanted_of(line: Line, epsilon: float | None) -> Wanted:
    """The promise. Raises CannotRenew, or CannotCertify."""
    before, watched = line.certificate, line.certificate.watched
    if watched is None:
        raise CannotRenew("no audits watch the certificate")
    grader, share = watched
    if epsilon is None and before.loss != "disagreement":
        raise CannotRenew(
            f"the certificate is of {before.loss} <= {before.epsilon:g}, which audits cannot see: say with --epsilon"
            f" how much disagreement with the final tier may be; {before.epsilon:g} promises no less than before,"
            f" {share:.4g} is what audits have watched for"
        )
    wanted = before.epsilon if epsilon is None else epsilon
    return Wanted("disagreement", grader, wanted, line.delta, before.max_age_days)


def audits_in(settings: Settings, name: str, environment: Mapping[str, str]) -> Sequence[Placed]:
    """All of the cascade's audits. Raises CannotRenew, or StoreDown."""
    home = home_of(settings.store, state_folder(environment))
    if home is None:
        raise CannotRenew("store: nothing is kept, so there are no audits: set store.folder, and gather some")
    return list(audits_of(home.url, name))


def refuse_any_alarmed(trust: Trust, placed: Sequence[Placed]) -> None:
    """Raise NotNow where an alarm has sounded or warns, also one whose certificate is not renewed: another artefact
    begins with other alarms."""
    alpha = alpha_of_cluster(len(trust.serving))
    for cluster, certificate in trust.serving.items():
        if certificate.watched is not None:
            line = Line(certificate, trust.identity, trust.verdict, cluster)
            grader, _ = certificate.watched
            with of_task(cluster):
                refuse_alarmed(line, [one for one in placed if is_about(one, line, grader)], alpha=alpha)


@contextmanager
def of_task(cluster: str | None) -> Iterator[None]:
    """What cannot be done now is said of this task."""
    try:
        yield
    except NotNow as wrong:
        if cluster is None:
            raise
        raise NotNow(f"{cluster}: {wrong}") from wrong


def renewed(line: Line, wanted: Wanted, placed: Sequence[Placed], now: datetime) -> Renewed:
    """The certificate that the audits give. Raises NotNow."""
    with of_task(line.cluster):
        return renewed_by([one for one in placed if is_about(one, line, wanted.grader)], line, wanted, placed, now)


def renewed_by(own: Sequence[Placed], line: Line, wanted: Wanted, placed: Sequence[Placed], now: datetime) -> Renewed:
    """By these of all audits. Raises NotNow."""
    if not own:
        raise NotNow(none_of(placed, line, wanted.grader))
    audits = [audited_of(one) for one in own]
    found = renew(audits, line, wanted, now=now)
    if isinstance(found, NotYet):
        raise NotNow(found.message)
    if found.expires_on <= now.date():
        raise NotNow(
            f"the last of these audits is of {found.certified_on}: a certificate from them would have expired on"
            f" {found.expires_on}: record fresh questions, and tune"
        )
    more = None
    if found.threshold > line.certificate.threshold:
        seen = seen_at(audits, line)
        more = audits_needed(seen, len(seen.thresholds) - 1, wanted)
    return Renewed(line, found, own, more)


def with_certificates(trust: Trust, done: Sequence[Renewed]) -> Trust:
    """The artefact with the new certificates in place of the old."""
    clusters = dict(trust.clusters)
    for one in done:
        if one.line.cluster is None:
            return trust.model_copy(update={"fit": renewed_fit(trust.fit, one)})
        clusters[one.line.cluster] = renewed_fit(clusters[one.line.cluster], one)
    return trust.model_copy(update={"clusters": clusters})


def renewed_fit(fit: Fit, done: Renewed) -> Fit:
    """The same, with the new certificate."""
    return fit.model_copy(update={"certificate": done.certificate})


def told(cascade: str, done: Renewed) -> Iterator[str]:
    """What was found."""
    name = cascade if done.line.cluster is None else f"{cascade}, {done.line.cluster}"
    line, certificate, audits = done.line, done.certificate, [one.audit for one in done.audits]
    first = datetime.fromtimestamp(min(time.time(), *(one.time for one in audits)), UTC).date()
    disagreed, untold = (sum(one.loss is wanted for one in audits) for wanted in (True, None))
    yield (
        f"{name}: round {certificate.round}, from {len(audits)} audits of artefact {line.artefact}, {first} to"
        f" {certificate.certified_on}: {disagreed} disagreed, {untold} failed or could not be told"
    )
    yield (
        f"certified: disagreement <= {certificate.epsilon:g} with probability {1 - certificate.delta:.4g}, by"
        f" {certificate.grader}, at threshold {certificate.threshold:.6g}, which accepts {certificate.accepted} of"
        f" these and loses {certificate.losses}, in an exposure of {exposure_in(certificate):.1f}; until"
        f" {certificate.expires_on}, unless audits keep it"
    )
    before = line.certificate
    yield (
        f"before: {before.loss} <= {before.epsilon:g} with probability {1 - before.delta:.4g}, at threshold"
        f" {before.threshold:.6g}; until {before.expires_on}, unless audits keep it"
    )
    if certificate.threshold > before.threshold:
        more = "no number of audits would do" if done.more is None else f"about {done.more} more audits would do"
        yield f"the threshold is higher than before; to keep it, {more} at this rate of losses"


def left(trust: Trust, done: Sequence[Renewed]) -> Iterator[str]:
    """What becomes of the certificates that are not renewed."""
    renewed_ones = {one.line.cluster for one in done}
    for task, fit in trust.clusters.items():
        if task not in renewed_ones and fit.certificate is not None:
            yield f"{task}: keeps its certificate, until {fit.certificate.expires_on}; its audits are counted anew"


def written(name: str, out: Path | None) -> str:
    """Where the artefact is."""
    if out is None:
        return "nothing is written: name a file with --out"
    return f"written: {out}: name it as `trust` of {name}, and start the gateway anew"


def exposure_in(certificate: Certificate) -> float:
    """What the certificate rests on."""
    return certificate.questions if certificate.renewal is None else certificate.renewal.exposure
