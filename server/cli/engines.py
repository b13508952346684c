"""The engines of a configuration, as `smallfirst up` starts them on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.launcher.gpus import start_order
from models.launcher.program import Program, engine_command
from models.launcher.speculation import Drafter, Handover, Speculation, speculation_flags
from server.settings.reading import PREFIX
from server.settings.schema import Settings
from server.settings.speculation import DrafterSettings, HandoverSettings
from server.settings.tier import EngineSettings


@dataclass(frozen=True, slots=True)
class Engine:
    """A tier's engine: what it loads, and the environment it gets. Those that it comes `after` share a GPU with it."""

    tier: str
    model: str
    settings: EngineSettings
    path: str
    speculation: Speculation | None
    environment: Mapping[str, str]
    after: tuple[str, ...]

    def program(self, port: int) -> Program:
        """The server to run, at that port of loopback."""
        wanted = self.settings
        command = engine_command(
            wanted.kind,
            self.path,
            model=self.model,
            port=port,
            args={**speculation_flags(wanted.kind, self.speculation), **wanted.args},
            executable=wanted.executable,
        )
        health = f"http://127.0.0.1:{port}/health"
        return Program(self.tier, command, health, wanted.start_timeout_s, self.environment, self.after)


def engines_of(settings: Settings, file: Path, environment: Mapping[str, str]) -> Sequence[Engine]:
    """Every tier's engine, in the file's order; the gateway's keys are not for the engines."""
    without_ours = {name: value for name, value in environment.items() if not name.startswith(PREFIX)}
    found = {name: tier.engine for name, tier in settings.tiers.items() if tier.engine is not None}
    environments = {name: {**without_ours, **engine.env} for name, engine in found.items()}
    after = start_order({name: environments[name] for name, engine in found.items() if engine.kind == "vllm"})
    return [
        Engine(
            name,
            settings.tiers[name].model,
            engine,
            loaded(settings, name, file),
            speculation_of(settings, engine, file),
            environments[name],
            after.get(name, ()),
        )
        for name, engine in found.items()
    ]


def loaded(settings: Settings, tier: str, file: Path) -> str:
    """What a tier's engine loads: a path that exists beside the configuration is that one, else it is for the engine to
    find."""
    wanted = settings.tiers[tier]
    path = (wanted.engine.path if wanted.engine is not None else None) or wanted.model
    beside = file.parent / path
    return str(beside.resolve()) if beside.exists() else path


def speculation_of(settings: Settings, engine: EngineSettings, file: Path) -> Speculation | None:
    """The engine's speculation; a drafter's tier is the model that it loads."""
    match engine.speculation:
        case None:
            return None
        case HandoverSettings(tokens=tokens):
            return Handover(tokens)
        case DrafterSettings() as drafter:
            return Drafter(
                loaded(settings, drafter.tier, file),
                drafter.tokens,
                drafter.heterogeneous_vocabularies,
                drafter.tokens_by_batch,
            )
