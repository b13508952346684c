"""The whole configuration, and what its parts must be to each other. An unknown key is an error; each key is
described in docs/configuration.md."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from server.settings.access import OidcSettings
from server.settings.asking import prints_of, refuse_odd_opinions, refuse_odd_skip
from server.settings.cascade import CascadeSettings
from server.settings.limits import LimitsSettings
from server.settings.section import Section
from server.settings.server import ServerSettings
from server.settings.speculation import refuse_missing_drafters
from server.settings.store import StoreSettings
from server.settings.tier import TierSettings
from server.settings.tracing import TracingSettings
from server.settings.workers import refuse_uncounted, refuse_unshared

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Settings(Section):
    """One configuration file."""

    tiers: Annotated[dict[Name, TierSettings], Field(min_length=1)]
    cascades: Mapping[Name, CascadeSettings] = {}
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    limits: LimitsSettings = LimitsSettings()
    tracing: TracingSettings = TracingSettings()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for name in self.cascades.keys() & self.tiers.keys():
            raise ValueError(f"cascades.{name}: there is a tier {name!r} too, clients could not tell them apart")
        for names in (self.tiers, self.cascades):
            refuse_alike(list(names))
        refuse_shared_ports(self.tiers, self.server)
        refuse_unkept_keys(self.server, self.store)
        refuse_uncounted(self.server, self.limits)
        refuse_unshared({name: cascade.queue for name, cascade in self.cascades.items()}, self.server.workers)
        refuse_unknown_models(self.server.oidc, [*self.cascades, *self.tiers])
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
            foresight = None if cascade.trust is None else cascade.trust.skip
            refuse_odd_skip(f"cascades.{name}.skip", cascade.skip, foresight, self.models)
            refuse_stream(f"cascades.{name}.stream", cascade, self.tiers)
            refuse_misfit(f"cascades.{name}.trust", cascade, self.tiers)
        return self

    @property
    def models(self) -> Mapping[str, str]:
        """What the tiers' servers call their models."""
        return {name: tier.model for name, tier in self.tiers.items()}


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


def refuse_unknown_models(oidc: OidcSettings | None, names: Sequence[str]) -> None:
    """Raise ValueError where an allowance names what is neither a cascade nor a tier."""
    for allowance, settings in oidc.allowances.items() if oidc else ():
        for model in settings.models or ():
            if model not in names:
                raise ValueError(f"server.oidc.allowances.{allowance}.models: there is no cascade or tier {model!r}")


def refuse_unkept_keys(server: ServerSettings, store: StoreSettings) -> None:
    """Raise ValueError where keys are asked for, and there is no place for them."""
    if server.auth == "keys" and store.url == "none":
        raise ValueError("store.url: 'none' has no place for keys, which `server.auth: keys` asks for")


def refuse_shared_ports(tiers: Mapping[str, TierSettings], server: ServerSettings) -> None:
    """Raise ValueError where two engines, or an engine and the gateway, would listen on one port."""
    seen = {server.port: "the gateway"}
    if server.admin_port:
        if server.admin_port == server.port:
            raise ValueError("server.admin.port: the gateway itself has it")
        seen[server.admin_port] = "the gateway's admin listener"
    for name, tier in tiers.items():
        if tier.engine is not None and tier.engine.port is not None:
            other = seen.setdefault(tier.engine.port, f"the engine of tier {name!r}")
            if other != f"the engine of tier {name!r}":
                raise ValueError(f"tiers.{name}.engine.port: {other} has it")


def shouted(name: object) -> str:
    """A key as a part of an environment variable's name."""
    return str(name).upper().replace("-", "_").replace(".", "_")
