"""`smallfirst recertify`: from the decision log's audits to the artefact of the next round."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from router.certificate import Certificate
from router.lab.certifying import CannotCertify, Wanted
from router.lab.renewing import Line, NotYet, audits_needed, renew, seen_at
from router.trust import Trust, trust_written
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
    config: Path, cascade: str | None, *, epsilon: float | None, out: Path | None, environment: Mapping[str, str]
) -> int:
    """Say what the audits certify, and write the artefact where a file is named; 1 where they do not do, 2 where there
    is nothing to renew."""
    try:
        settings = read_settings(config, environment)
        name = chosen(settings, cascade)
        trust = trust_of(name, settings)
        line = line_of(trust)
        wanted = wanted_of(line, epsilon)
        now = datetime.now(UTC)
        done = renewed(line, wanted, audits_in(settings, name, environment), now)
        if out is not None:
            write(with_certificate(trust, done.certificate), out)
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
    for said in told(name, done, out):
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
    refuse_clusters(cascade.trust)
    return cascade.trust


def refuse_clusters(trust: Trust) -> None:
    """Raise CannotRenew where there are certificates by task: an audit does not say which of them it is about."""
    if trust.clusters:
        tasks = ", ".join(sorted(trust.clusters))
        raise CannotRenew(
            f"the artefact has certificates by task ({tasks}), and audits do not say whose they are: tune again on"
            " fresh questions, with --by-task, or without it so that audits can renew the one certificate"
        )


def line_of(trust: Trust) -> Line:
    """What is renewed. Raises CannotRenew."""
    certificate = trust.fit.certificate
    if certificate is None:
        raise CannotRenew("the artefact has no certificate: `smallfirst tune --epsilon` makes the first one")
    if certificate.watched is None:
        raise CannotRenew("no audits watch the certificate: tune again with --audit-grader")
    return Line(certificate, trust.identity, trust.verdict)


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


def renewed(line: Line, wanted: Wanted, placed: Sequence[Placed], now: datetime) -> Renewed:
    """The certificate that the audits give. Raises NotNow."""
    own = [one for one in placed if is_about(one, line, wanted.grader)]
    if not own:
        raise NotNow(none_of(placed, line, wanted.grader))
    refuse_alarmed(line, own)
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


def with_certificate(trust: Trust, certificate: Certificate) -> Trust:
    """The artefact with the new certificate in place of the old."""
    return trust.model_copy(update={"fit": trust.fit.model_copy(update={"certificate": certificate})})


def write(trust: Trust, out: Path) -> None:
    """Whole or not at all. Raises OSError."""
    beside = out.with_name(out.name + ".part")
    beside.write_bytes(trust_written(trust))
    beside.replace(out)


def told(name: str, done: Renewed, out: Path | None) -> Iterator[str]:
    """What was found, and what becomes of it."""
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
    if out is None:
        yield "nothing is written: name a file with --out"
    else:
        yield f"written: {out}: name it as `trust` of {name}, and start the gateway anew"


def exposure_in(certificate: Certificate) -> float:
    """What the certificate rests on."""
    return certificate.questions if certificate.renewal is None else certificate.renewal.exposure
