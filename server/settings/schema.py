"""Every key of the configuration. An unknown key is an error; each key is described in docs/configuration.md."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from models.endpoint import Dialect
from models.launcher.program import EngineKind, Flag
from models.prompt import Modality
from models.resuming import OnBrokenStream
from router.events import CheckReason, Mode
from router.gate import OnDoubt
from router.graders import grader_of
from router.policy import OnMissingEvidence
from router.scorers import AskingName, ScorerName, scorer_of
from router.trust import Trust, trust_of
from server.settings.asking import (
    OpinionSettings,
    SkipSettings,
    VerdictSettings,
    frozen,
    prints_of,
    refuse_odd_opinions,
    refuse_unasked,
)
from server.settings.section import Section
from server.settings.speculation import SpeculationSettings, refuse_clash, refuse_missing_drafters
from server.settings.store import StoreSettings

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_no_address(url: str) -> None:
    """Raise ValueError where a URL is not where an OpenAI-compatible server can be."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.username or parts.password:
        raise ValueError("an address holds a name or password: give a key as api_key")
    odd = parts.query or parts.fragment or any(character.isspace() for character in url)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or odd:
        raise ValueError(f"{url!r} is no http or https address")
    if "/v1" in parts.path:
        raise ValueError(f"{url!r} goes on after the server's address: give it without /v1")


class PriceSettings(Section):
    """Per million tokens, in a currency of the operator's choice."""

    input: Money
    output: Money


class LimitSettings(Section):
    """How long a tier may take. First token and idle are for streams; an answer in one piece has the total."""

    connect_s: Seconds = 2.0
    first_token_s: Seconds = 60.0
    idle_s: Seconds = 30.0
    total_s: Seconds = 600.0


class EngineSettings(Section):
    """A server that `smallfirst up` starts for the tier; `args` are its command-line flags."""

    kind: EngineKind
    path: str | None = None
    executable: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    args: Mapping[str, Flag] = {}
    env: Mapping[str, str] = {}
    start_timeout_s: Seconds = 900.0
    speculation: SpeculationSettings | None = None

    @model_validator(mode="after")
    def _can_speculate(self) -> Self:
        refuse_clash(self.kind, self.speculation, self.args)
        return self


class TierSettings(Section):
    """A model, what it costs, and where its servers are or how to start one."""

    model: Annotated[str, StringConstraints(min_length=1)]
    price: PriceSettings
    urls: Annotated[tuple[str, ...], BeforeValidator(frozen)] = ()
    engine: EngineSettings | None = None
    api_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    dialect: Dialect = "vllm"
    modalities: Annotated[tuple[Modality, ...], BeforeValidator(frozen)] | None = None
    limits: LimitSettings = LimitSettings()
    on_broken_stream: OnBrokenStream = "resume"
    saturation_tokens: Annotated[int, Field(ge=1)] = 256

    @field_validator("urls")
    @classmethod
    def _are_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        stripped = tuple(url.rstrip("/") for url in urls)
        for url in stripped:
            refuse_no_address(url)
        if len(set(stripped)) < len(stripped):
            raise ValueError("an address is listed twice")
        return stripped

    @model_validator(mode="after")
    def _has_a_server(self) -> Self:
        if not self.urls and self.engine is None:
            raise ValueError("give urls of running servers, or an engine that `smallfirst up` starts")
        return self


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
            raise ValueError("skip: prompts are scored by what `smallfirst tune` fitted: `trust` has no such thing")
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


class ServerSettings(Section):
    """The gateway itself."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    auth: Literal["none"] | None = None
    max_body_bytes: Annotated[int, Field(gt=0)] = 20 * 2**20
    body_s: Seconds = 60.0
    deadline_s: Seconds = 900.0
    shutdown_s: Seconds = 30.0

    @model_validator(mode="after")
    def _is_private_or_says_so(self) -> Self:
        if self.auth is None and not is_loopback(self.host):
            raise ValueError(
                f"anyone who reaches {self.host!r} could call the gateway: use a loopback host, or say `auth: none`"
            )
        return self


class Settings(Section):
    """One configuration file."""

    tiers: Annotated[dict[Name, TierSettings], Field(min_length=1)]
    cascades: Mapping[Name, CascadeSettings] = {}
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for name in self.cascades.keys() & self.tiers.keys():
            raise ValueError(f"cascades.{name}: there is a tier {name!r} too, clients could not tell them apart")
        for names in (self.tiers, self.cascades):
            refuse_alike(list(names))
        refuse_shared_ports(self.tiers, self.server.port)
        refuse_missing_drafters(
            {name: tier.engine.speculation if tier.engine else None for name, tier in self.tiers.items()}
        )
        for name, cascade in self.cascades.items():
            for tier in cascade.tiers:
                if tier not in self.tiers:
                    raise ValueError(
                        f"cascades.{name}.tiers: there is no tier {tier!r} (tiers: {', '.join(self.tiers)})"
                    )
            if len(set(cascade.tiers)) < len(cascade.tiers):
                raise ValueError(f"cascades.{name}.tiers: a tier is listed twice")
            refuse_odd_opinions(f"cascades.{name}.opinions", cascade.opinions, cascade.tiers, self.tiers)
            refuse_stream(f"cascades.{name}.stream", cascade, self.tiers)
            refuse_misfit(f"cascades.{name}.trust", cascade, self.tiers)
        return self


def refuse_stream(where: str, cascade: CascadeSettings, tiers: Mapping[str, TierSettings]) -> None:
    """Raise ValueError where a cascade's streams cannot be as they are wanted."""
    stream, final = cascade.stream, cascade.tiers[-1]
    if stream.on_doubt == "continue" and tiers[final].dialect != "vllm":
        raise ValueError(
            f"{where}.on_doubt: tier {final!r} is not known to go on after another model's words (dialect"
            f" {tiers[final].dialect!r}): use 'hold'"
        )


def refuse_misfit(where: str, cascade: CascadeSettings, tiers: Mapping[str, TierSettings]) -> None:
    """Raise ValueError where an artefact was made for another cascade than this one."""
    if cascade.trust is None:
        return
    models = {name: tier.model for name, tier in tiers.items()}
    said = cascade.trust.misfits(
        [models[name] for name in cascade.tiers],
        cascade.checks,
        cascade.on_missing_evidence,
        verdict=None if cascade.verdict is None else cascade.verdict.rule,
        opinions=prints_of(cascade.opinions, cascade.tiers[0], models),
    )
    if said:
        raise ValueError(f"{where}: {'; '.join(said)}: tune again, or set that back")


def refuse_alike(names: Sequence[str]) -> None:
    """Raise ValueError where the environment could not tell two names apart, or a name from a path."""
    seen: dict[str, str] = {}
    for name in names:
        if "__" in shouted(name) or shouted(name).endswith("_"):
            raise ValueError(
                f"{name!r}: a name cannot hold two of `-._` in a row or end in one: the environment could not name it"
            )
        other = seen.setdefault(shouted(name), name)
        if other != name:
            raise ValueError(f"{name!r} and {other!r} are one name in environment variables: rename one")


def refuse_shared_ports(tiers: Mapping[str, TierSettings], gateway_port: int) -> None:
    """Raise ValueError where two engines, or an engine and the gateway, would listen on one port."""
    seen = {gateway_port: "the gateway"}
    for name, tier in tiers.items():
        if tier.engine is not None and tier.engine.port is not None:
            other = seen.setdefault(tier.engine.port, f"the engine of tier {name!r}")
            if other != f"the engine of tier {name!r}":
                raise ValueError(f"tiers.{name}.engine.port: {other} has it")


def shouted(name: object) -> str:
    """A key as a part of an environment variable's name."""
    return str(name).upper().replace("-", "_").replace(".", "_")
