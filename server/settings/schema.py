"""Every key of the configuration. An unknown key is an error; each key is described in docs/configuration.md."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
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
from router.gate import Gate, OnDoubt, gate_of
from router.policy import OnMissingEvidence
from router.scorers import ScorerName
from server.modes import refuse_mode_to_come
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


def frozen(value: object) -> object:
    """A list as a tuple; YAML has lists alone."""
    return tuple(value) if isinstance(value, list) else value


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


def read_gate(value: object, info: ValidationInfo) -> object:
    """The gate in the file of that name, beside the configuration. Raises ValueError."""
    if not isinstance(value, str):
        return value
    folder = info.context or Path()
    try:
        return gate_of((folder / value).read_bytes())
    except OSError as unreadable:
        raise ValueError(f"{value}: {unreadable.strerror}") from unreadable


class StreamSettings(Section):
    """When the text of a draft is shown to a client that streams, and when a hopeless draft is stopped."""

    on_doubt: OnDoubt = "hold"
    gate: Annotated[Gate | None, BeforeValidator(read_gate)] = None
    gate_tokens: Annotated[int, Field(ge=1)] = 24
    holdback_tokens: Annotated[int, Field(ge=0)] = 16
    open_at: Annotated[float, Field(ge=0, le=1)] = 0.5
    stop_at: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _has_a_gate(self) -> Self:
        if self.gate is None and (self.on_doubt != "hold" or self.stop_at is not None):
            raise ValueError("a gate is needed to judge a draft by its first tokens: see `smallfirst gate`")
        if self.gate is not None and self.gate_tokens not in self.gate.curves:
            sizes = ", ".join(map(str, sorted(self.gate.curves))) or "none"
            raise ValueError(f"gate_tokens: the gate was fitted for other numbers of tokens: {sizes}")
        return self


class CascadeSettings(Section):
    """Which tiers answer to the cascade's name, in which order, and when a draft is good enough."""

    tiers: Annotated[tuple[str, ...], Field(min_length=2), BeforeValidator(frozen)]
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    mode: Annotated[Mode, BeforeValidator(refuse_mode_to_come)] = "threshold"
    scorer: ScorerName = "mean-logprob"
    checks: Annotated[tuple[CheckReason, ...], BeforeValidator(frozen)] = (
        "empty",
        "malformed",
        "cut",
        "refused",
        "looping",
    )
    on_missing_evidence: OnMissingEvidence = "escalate"
    failover_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    stream: StreamSettings = StreamSettings()

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        if self.mode == "threshold" and self.threshold is None:
            raise ValueError("mode 'threshold' needs a threshold")
        return self


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
            refuse_stream(f"cascades.{name}.stream", cascade, self.tiers)
        return self


def refuse_stream(where: str, cascade: CascadeSettings, tiers: Mapping[str, TierSettings]) -> None:
    """Raise ValueError where a cascade's streams cannot be as they are wanted."""
    stream, (first, *_, final) = cascade.stream, cascade.tiers
    if stream.on_doubt == "continue" and tiers[final].dialect != "vllm":
        raise ValueError(
            f"{where}.on_doubt: tier {final!r} is not known to go on after another model's words (dialect"
            f" {tiers[final].dialect!r}): use 'hold'"
        )
    gate = stream.gate
    if gate is None:
        return
    wanted = (tiers[first].model, cascade.scorer, cascade.threshold)
    if (gate.model, gate.scorer, gate.threshold) != wanted:
        raise ValueError(
            f"{where}.gate: it was fitted for {gate.model} by {gate.scorer} at {gate.threshold:g}, the cascade has"
            f" {wanted[0]} by {wanted[1]} at {wanted[2]}: fit it again with `smallfirst gate fit`"
        )


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
