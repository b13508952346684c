"""A cascade's part of the configuration: its tiers, how drafts are judged, and what is watched."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo, model_validator

from router.events import CheckReason, Mode
from router.gate import OnDoubt
from router.graders import grader_of
from router.policy import OnMissingEvidence
from router.scorers import AskingName, ScorerName, scorer_of
from router.trust import Trust, trust_of
from server.settings.asking import OpinionSettings, SkipSettings, VerdictSettings, frozen, refuse_unasked
from server.settings.section import Section


def read_trust(value: object, info: ValidationInfo) -> object:
    """The artefact in the file of that name, beside the configuration. Raises ValueError."""
    if not isinstance(value, str):
        return value
    folder = info.context or Path()
    try:
        return trust_of((folder / value).read_bytes())
    except OSError as unreadable:
        raise ValueError(f"{value}: {unreadable.strerror}") from unreadable


class StreamSettings(Section):
    """When the text of a draft is shown to a client that streams, and when a hopeless draft is stopped."""

    on_doubt: OnDoubt = "hold"
    gate_tokens: Annotated[int, Field(ge=1)] = 24
    holdback_tokens: Annotated[int, Field(ge=0)] = 16
    open_at: Annotated[float, Field(ge=0, le=1)] = 0.5
    stop_at: Annotated[float, Field(ge=0, lt=1)] | None = None

    @property
    def needs_a_gate(self) -> bool:
        """Whether drafts are judged by their first tokens."""
        return self.on_doubt != "hold" or self.stop_at is not None


class BudgetSettings(Section):
    """What moves a cascade's threshold in mode `threshold`: a share that is held, and the final tier's load."""

    escalated: Annotated[float, Field(gt=0, lt=1)] | None = None
    spend: Annotated[float, Field(gt=0, lt=1)] | None = None
    load_price: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.escalated is not None and self.spend is not None:
            raise ValueError("hold the share that is escalated or the one that is spent, not both: one threshold moves")
        return self


def refuse_unknown_grader(name: str) -> str:
    """The name, where there is such a grader. Raises ValueError."""
    grader_of(name)
    return name


class AuditSettings(Section):
    """How many accepted drafts are compared with what the final tier would have said; none until both `rate` and
    `spend_per_day` are set."""

    rate: Annotated[float, Field(gt=0, le=1)] | None = None
    spend_per_day: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    grader: Annotated[str, AfterValidator(refuse_unknown_grader)] = "exact"
    at_once: Annotated[int, Field(ge=1, le=64)] = 2


class CascadeSettings(Section):
    """Which tiers answer to the cascade's name, in which order, and when a draft is good enough."""

    tiers: Annotated[tuple[str, ...], Field(min_length=2), BeforeValidator(frozen)]
    trust: Annotated[Trust | None, BeforeValidator(read_trust)] = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    mode: Mode = "threshold"
    scorer: ScorerName | AskingName | None = None
    task: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    checks: Annotated[tuple[CheckReason, ...], BeforeValidator(frozen)] = (
        "empty",
        "malformed",
        "cut",
        "refused",
        "looping",
    )
    on_missing_evidence: OnMissingEvidence = "escalate"
    opinions: Mapping[AskingName, OpinionSettings] = {}
    verdict: VerdictSettings | None = None
    skip: SkipSettings | None = None
    failover_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    stream: StreamSettings = StreamSettings()
    budget: BudgetSettings = BudgetSettings()
    audits: AuditSettings = AuditSettings()

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        if self.mode == "threshold" and self.threshold is None and self.trust is None:
            raise ValueError("mode 'threshold' needs a threshold, or an artefact of `smallfirst tune` as `trust`")
        if self.trust is not None and self.scorer is not None:
            raise ValueError("scorer: the artefact of `trust` has its own: leave one of them out")
        if self.mode == "certified":
            refuse_uncertified(self.trust)
        return self

    @model_validator(mode="after")
    def _can_ask(self) -> Self:
        refuse_unasked(self.asks, self.opinions)
        if self.skip is not None and (self.trust is None or self.trust.skip is None):
            raise ValueError(
                "skip: prompts are scored by what `smallfirst tune --skip` fitted, if it earned its"
                " place: `trust` has no such thing"
            )
        return self

    @model_validator(mode="after")
    def _can_hear_a_verdict(self) -> Self:
        if self.verdict is None:
            return self
        threshold = self.threshold if self.threshold is not None or self.trust is None else self.trust.fit.threshold
        if self.mode == "threshold" and threshold is not None and not self.verdict.rule.holds(threshold):
            low, high = self.verdict.band
            raise ValueError(f"verdict.band: the threshold {threshold:g} is not within {low:g} and {high:g}")
        if self.stream.needs_a_gate:
            raise ValueError("stream: a verdict is on whole drafts, so streams are held: leave one of them out")
        return self

    @property
    def asks(self) -> tuple[str, ...]:
        """The questions about drafts that its scorer reads the answers of."""
        if self.trust is not None:
            return self.trust.asks
        return scorer_of(self.scorer).opinions if self.scorer is not None else ()

    @model_validator(mode="after")
    def _can_stream(self) -> Self:
        gate = self.trust.gate if self.trust is not None else None
        if not self.stream.needs_a_gate:
            return self
        if self.budget != BudgetSettings():
            raise ValueError("a budget moves the threshold, and the stream's gate was fitted for one: leave one out")
        if self.asks:
            raise ValueError(f"stream: the scorer asks models about whole drafts ({', '.join(self.asks)}): use 'hold'")
        if self.trust is not None and self.trust.reads_text:
            raise ValueError(
                "stream: the artefact's scorer reads the texts of whole drafts: use 'hold', or tune without those"
            )
        if gate is None:
            raise ValueError(
                "stream: a gate is needed to judge a draft by its first tokens: give `trust` an artefact of"
                " `smallfirst tune` that has one"
            )
        if self.stream.gate_tokens not in gate.curves:
            sizes = ", ".join(map(str, sorted(gate.curves)))
            raise ValueError(f"stream.gate_tokens: the gate was fitted for other numbers of tokens: {sizes}")
        if self.threshold is not None and self.threshold != gate.threshold:
            raise ValueError(
                f"stream: the gate was fitted for threshold {gate.threshold:g}, not {self.threshold:g}: tune again with"
                f" --threshold {self.threshold:g}"
            )
        return self


def refuse_uncertified(trust: Trust | None) -> None:
    """Raise ValueError where nothing was certified."""
    if trust is None:
        raise ValueError("mode 'certified' needs an artefact of `smallfirst tune` as `trust`")
    if not trust.certified:
        why = trust.fit.infeasible or "it was tuned without --epsilon"
        raise ValueError(f"trust: the artefact has no certificate ({why}): use mode 'exact' or 'threshold'")
