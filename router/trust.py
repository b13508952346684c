"""The artefact that `smallfirst tune` writes: how a cascade's drafts are judged, what that was fitted on, and what is
promised of it. JSON; read, never run."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from router.calibration import Calibration
from router.certificate import Certificate
from router.clusters import Centroids
from router.drift import Histogram
from router.events import CheckReason
from router.fitted import Base, base_scorer, calibrated
from router.gate import Gate
from router.scorers import Scorer
from router.skipping import Foresight
from router.verdict import Band

MOST_BYTES = 8 * 2**20
NAMED = r"^[^\x00-\x1f\x7f]{1,64}$"  # what a request can name, and a store keep
Share = Annotated[float, Field(ge=0, le=1)]
Servers = Collection[Collection[str]]
ClusterName = Annotated[str, StringConstraints(pattern=NAMED)]


class Part(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TierPrint(Part):
    """A tier as it was recorded: its model's name, and its server's fingerprint where it has one."""

    model: str
    fingerprint: str | None = None


class OpinionPrint(Part):
    """Who answered a question about the drafts: its model's name, the grader where answers were compared, and its
    server's fingerprint where it has one."""

    model: str
    grader: str | None = None
    fingerprint: str | None = None

    @property
    def told(self) -> str:
        """In words."""
        return self.model if self.grader is None else f"{self.model}, compared by {self.grader}"


class Fit(Part):
    """How drafts of one kind of request are judged: a scorer, its calibration to P(draft right) or to P(no regret), the
    threshold of mode `threshold` and the certificate of mode `certified`, which has a threshold of its own; without
    one, `infeasible` says why. `questions` is how many it was fitted on, `confidences` how their drafts' are spread."""

    scorer: Base
    calibration: Calibration
    confidence_of: Literal["right", "no-regret"]
    threshold: Share
    certificate: Certificate | None = None
    infeasible: str | None = None
    questions: Annotated[int, Field(ge=1)]
    confidences: Histogram | None = None

    @property
    def judging(self) -> Scorer:
        """The scorer with its calibration."""
        return calibrated(base_scorer(self.scorer), self.calibration, self.confidence_of)


class Trust(Part):
    """One cascade's artefact. `tiers` are its tiers in order; checks, missing evidence and `verdict` are as they were
    when it was certified; `opinions` are who answered the questions that it was fitted on; `fit` judges every request,
    or, where there are `clusters`, those of no known cluster; `words` tells which cluster a request is of that names no
    task, and certificates are for requests as it tells them; `skip` scores prompts before there is a draft. `recorded`
    is the SHA-256 of the file that it was made from, `seen` a sketch of that file's questions."""

    kind: Literal["smallfirst-trust-1"] = "smallfirst-trust-1"
    tuned_on: date
    tiers: Annotated[tuple[TierPrint, ...], Field(min_length=2)]
    checks: tuple[CheckReason, ...]
    on_missing_evidence: Literal["escalate", "accept"]
    recorded: str
    grader: str
    fit: Fit
    clusters: Mapping[ClusterName, Fit] = {}
    words: Centroids | None = None
    gate: Gate | None = None
    verdict: Band | None = None
    opinions: Mapping[str, OpinionPrint] = {}
    skip: Foresight | None = None
    seen: Annotated[str, Field(pattern=r"^([0-9a-f]{12})*$")] = ""

    @model_validator(mode="after")
    def _tells_known_clusters(self) -> Self:
        unknown = set() if self.words is None else set(self.words.centroids) - set(self.clusters)
        if unknown:
            raise ValueError(f"words: there is no fit for the clusters {', '.join(sorted(unknown))}")
        return self

    def misfits(
        self,
        models: Sequence[str],
        checks: Sequence[CheckReason],
        on_missing_evidence: str,
        *,
        verdict: Band | None = None,
        opinions: Mapping[str, OpinionPrint] = MappingProxyType({}),
    ) -> tuple[str, ...]:
        """Why it cannot judge a cascade of these models, with these rules; nothing where it can."""
        known = tuple(tier.model for tier in self.tiers)
        said = []
        if known != tuple(models):
            said.append(f"it was made for {' and '.join(known)}, the cascade has {' and '.join(models)}")
        if self.certified and set(self.checks) != set(checks):
            said.append(f"it was certified with the checks {', '.join(self.checks) or 'none'}")
        if self.certified and self.on_missing_evidence != on_missing_evidence:
            said.append(f"it was certified with on_missing_evidence: {self.on_missing_evidence}")
        if self.certified and self._is_laxer(verdict):
            said.append(f"it was certified with {f'the verdict {self.verdict.told}' if self.verdict else 'no verdict'}")
        for name, known_print in self.opinions.items():
            if name in opinions and opinions[name].told != known_print.told:
                said.append(f"it was made with the opinion {name} of {known_print.told}")
        return tuple(said)

    @property
    def identity(self) -> str:
        """Which artefact it is: a hash of all of it."""
        return sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]

    def changed(
        self,
        served_by: Sequence[Servers],
        asked: Mapping[str, Servers] = MappingProxyType({}),
    ) -> tuple[str, ...]:
        """What the tiers' servers are by now, and were not when it was made, and those that are asked of drafts, by the
        question's name; each server by the fingerprints that it may have. What is not known is no change."""
        served: list[tuple[TierPrint | OpinionPrint, Servers]] = [
            *zip(self.tiers, served_by, strict=True),
            *((one, asked.get(name, ())) for name, one in self.opinions.items()),
        ]
        return tuple(
            f"a server of {before.model} is another than was recorded"
            for before, found in served
            if before.fingerprint is not None and any(before.fingerprint not in server for server in found)
        )

    @property
    def fits(self) -> Mapping[str | None, Fit]:
        """How drafts are judged, by the cluster that their request is of; None: of none that is known."""
        return dict([(None, self.fit), *self.clusters.items()])

    @property
    def certificates(self) -> Mapping[str | None, Certificate]:
        """Each one, by the cluster that it is for; None: that of the fit to all questions."""
        return {cluster: fit.certificate for cluster, fit in self.fits.items() if fit.certificate is not None}

    @property
    def serving(self) -> Mapping[str | None, Certificate]:
        """Those on whose word drafts may be accepted: where there are clusters, none that is for all questions."""
        return {cluster: one for cluster, one in self.certificates.items() if cluster is not None or not self.clusters}

    @property
    def asks(self) -> tuple[str, ...]:
        """The questions about a draft that some of its scorers read the answers of."""
        return tuple(dict.fromkeys(name for fit in self.fits.values() for name in fit.judging.opinions))

    @property
    def reads_text(self) -> bool:
        """Whether some of its scorers read the texts of questions and drafts."""
        return any(fit.judging.reads_text for fit in self.fits.values())

    def _is_laxer(self, verdict: Band | None) -> bool:
        """Whether a cascade with this verdict may accept what was not certified. A band that no certified threshold is
        in, but for its beginning, only has the final tier asked about what would be accepted anyway."""
        if verdict == self.verdict:
            return False
        certified = [certificate.threshold for certificate in self.serving.values()]
        return self.verdict is not None or verdict is None or any(map(verdict.may_accept_below, certified))

    @property
    def certified(self) -> bool:
        """Whether there is any certificate in it."""
        return bool(self.certificates)


def trust_of(written: bytes) -> Trust:
    """The artefact in a file that `smallfirst tune` wrote. Raises ValueError where it is none."""
    if len(written) > MOST_BYTES:
        raise ValueError("no artefact that `smallfirst tune` wrote (it is too large)")
    try:
        return Trust.model_validate_json(written)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"no artefact that `smallfirst tune` wrote ({where}: {first['msg']})") from wrong


def trust_written(trust: Trust) -> bytes:
    """The artefact as a file."""
    return trust.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"
