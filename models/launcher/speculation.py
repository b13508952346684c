"""Speculation inside an engine: what proposes tokens, and which flags ask for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from models.launcher.program import EngineKind, Flag
from models.wire import Json, JsonObject

PROPOSER = "smallfirst_handover.proposer.Proposer"


@dataclass(frozen=True, slots=True)
class Handover:
    """The draft that a request brings along is proposed, at most `tokens` of it a step."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Drafter:
    """A model inside the engine proposes `tokens` a step; `tokens_by_batch` maps a number of running requests to how
    many it is from there on."""

    model: str
    tokens: int
    heterogeneous_vocabularies: bool
    tokens_by_batch: Mapping[int, int]


Speculation = Handover | Drafter


def speculation_flags(kind: EngineKind, speculation: Speculation | None) -> dict[str, Flag]:
    """The engine's flags; a drafter is vLLM's alone."""
    if kind == "transformers":
        return {"speculative-tokens": speculation.tokens if isinstance(speculation, Handover) else 0}
    if speculation is None:
        return {}
    return {
        "speculative-config": json.dumps(vllm_config(speculation)),
        "per-request-spec-decode-metrics": "summary",
    }


def vllm_config(speculation: Speculation) -> JsonObject:
    """As vLLM's `--speculative-config` takes it."""
    tokens: JsonObject = {"num_speculative_tokens": speculation.tokens}
    if isinstance(speculation, Handover):
        return {"method": "custom_class", "model": PROPOSER, **tokens}
    config: JsonObject = {"method": "draft_model", "model": speculation.model, **tokens}
    if speculation.heterogeneous_vocabularies:
        config["use_heterogeneous_vocab"] = True
    if speculation.tokens_by_batch:
        config["num_speculative_tokens_per_batch_size"] = batch_ranges(speculation.tokens_by_batch)
    return config


def batch_ranges(tokens_by_batch: Mapping[int, int]) -> list[Json]:
    """Ranges of batch sizes, both ends included, each with its tokens; vLLM carries the last one on."""
    starts = sorted(tokens_by_batch)
    ends = [following - 1 for _, following in pairwise(starts)] + starts[-1:]
    return [[start, end, tokens_by_batch[start]] for start, end in zip(starts, ends, strict=True)]
