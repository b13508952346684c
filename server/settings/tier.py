"""A tier's part of the configuration: a model, its price, and where its servers are or how one is started."""

from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, field_validator, model_validator

from models.endpoint import Dialect
from models.launcher.program import EngineKind, Flag
from models.prompt import Modality
from models.resuming import OnBrokenStream
from server.settings.asking import frozen
from server.settings.section import Money, Seconds, Section
from server.settings.speculation import SpeculationSettings, refuse_clash


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


class ColdSettings(Section):
    """What becomes of requests that come while the tier has no server at all: so many wait, each for so long."""

    wait_s: Seconds = 300.0
    requests: Annotated[int, Field(ge=1, le=100_000)] = 100


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
    cold: ColdSettings | None = None
    on_broken_stream: OnBrokenStream = "resume"
    saturation_tokens: Annotated[int, Field(ge=1)] = 256
    priorities: bool = False

    @field_validator("urls")
    @classmethod
    def _are_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        stripped = tuple(url.rstrip("/") for url in urls)
        for url in stripped:
            refuse_no_address(url)
        if len(set(stripped)) < len(stripped):
            raise ValueError("an address is listed twice")
        return stripped

    @field_validator("api_key")
    @classmethod
    def _can_be_sent(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not key.get_secret_value().isprintable():
            raise ValueError("holds what no header can, such as a line break: is there one at its end?")
        return key

    @property
    def schedules(self) -> bool:
        """Whether its servers answer requests by their priorities."""
        asked = self.engine is not None and self.engine.args.get("scheduling-policy") == "priority"
        return self.priorities or asked

    @model_validator(mode="after")
    def _has_a_server(self) -> Self:
        if not self.urls and self.engine is None:
            raise ValueError("give urls of running servers, or an engine that `smallfirst up` starts")
        return self
