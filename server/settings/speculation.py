"""`engine.speculation`: what proposes tokens inside a tier's engine, and what is no speculation that can be."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from models.launcher.program import EngineKind, Flag
from server.settings.section import Section

Tokens = Annotated[int, Field(ge=1, le=128)]
OWN_FLAGS = ("speculative-config", "spec-method", "spec-model", "spec-tokens")


class HandoverSettings(Section):
    """The draft that a request brings along is verified, `tokens` a step."""

    method: Literal["handover"]
    tokens: Tokens = 16


class DrafterSettings(Section):
    """The model of another tier, loaded into this one's engine, proposes `tokens` a step."""

    method: Literal["drafter"]
    tier: str
    tokens: Tokens = 5
    heterogeneous_vocabularies: bool = False
    tokens_by_batch: Mapping[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)]] = {}

    @model_validator(mode="after")
    def _batches_are_told(self) -> Self:
        if self.tokens_by_batch and 1 not in self.tokens_by_batch:
            raise ValueError("tokens_by_batch: say how many tokens from 1 running request on")
        if max(self.tokens_by_batch.values(), default=0) > self.tokens:
            raise ValueError(f"tokens_by_batch: nothing in it can be more than `tokens`, which is {self.tokens}")
        return self


def method_of(value: object) -> str | None:
    """What tells the two apart."""
    method = value.get("method") if isinstance(value, dict) else None
    return method if isinstance(method, str) else None


SpeculationSettings = Annotated[
    Annotated[HandoverSettings, Tag("handover")] | Annotated[DrafterSettings, Tag("drafter")],
    Discriminator(
        method_of,
        custom_error_type="speculation",
        custom_error_message="should be a mapping with `method`: 'handover' or 'drafter'",
    ),
]


def refuse_clash(kind: EngineKind, speculation: SpeculationSettings | None, args: Mapping[str, Flag]) -> None:
    """Raise ValueError where an engine's flags and its speculation do not go together, or its kind cannot do it."""
    flags = {name.replace("_", "-"): value for name, value in args.items() if value is not None}
    if kind == "transformers":
        refuse_for_transformers(speculation, flags)
    elif speculation is not None:
        refuse_for_vllm(speculation, flags)


def refuse_for_transformers(speculation: SpeculationSettings | None, flags: Mapping[str, Flag]) -> None:
    """Raise ValueError where `smallfirst engine` could not do it."""
    if isinstance(speculation, DrafterSettings):
        raise ValueError(
            "speculation: an engine of kind 'transformers' holds one model: use method 'handover', or kind 'vllm'"
        )
    if "speculative-tokens" in flags:
        raise ValueError("args.speculative-tokens: say it as `speculation: {method: handover, tokens: …}`")


def refuse_for_vllm(speculation: SpeculationSettings, flags: Mapping[str, Flag]) -> None:
    """Raise ValueError where vLLM would not start."""
    for name, value in flags.items():
        if name.partition(".")[0] in OWN_FLAGS:
            raise ValueError(f"args.{name}: a server has one kind of speculation: take this or `speculation` away")
        if name == "async-scheduling" and value is True and isinstance(speculation, HandoverSettings):
            raise ValueError("args.async-scheduling: vLLM has none with a handover: take it away")
    together, batched = flags.get("max-num-seqs"), flags.get("max-num-batched-tokens")
    if flags.get("enable-lora") is True and isinstance(together, int) and isinstance(batched, int):
        least = together * (speculation.tokens + 1)
        if batched < least:
            raise ValueError(
                f"args.max-num-batched-tokens: with adapters and {speculation.tokens} draft tokens a step vLLM wants"
                f" {least} or more for {together} sequences: raise it, or lower max-num-seqs or speculation.tokens"
            )


def refuse_missing_drafters(tiers: Mapping[str, SpeculationSettings | None]) -> None:
    """Raise ValueError where a tier's drafter is no tier, or the tier itself."""
    for name, speculation in tiers.items():
        if not isinstance(speculation, DrafterSettings):
            continue
        where = f"tiers.{name}.engine.speculation.tier"
        if speculation.tier not in tiers:
            raise ValueError(f"{where}: there is no tier {speculation.tier!r} (tiers: {', '.join(tiers)})")
        if speculation.tier == name:
            raise ValueError(f"{where}: a tier cannot draft for itself: name a smaller one")
