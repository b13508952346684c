"""One server of a tier: can it be reached, does it serve the model, and are its log-probabilities any good?"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from models.abilities import UNKNOWN, Abilities
from models.answer import draft_of
from models.endpoint import Endpoint, Limits
from models.errors import BadReply, TimedOut, Unreachable
from models.parsing import delta_of
from models.probing import Door, find_abilities, with_models
from models.prompt import Prompt
from models.session import Session
from models.wire import JsonObject
from router.evidence import evidence_of
from router.scorers import Evidence
from server.doctor.finding import Finding, good, problem, warning

TRIAL: JsonObject = {
    "messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 16, "logprobs": True, "top_logprobs": 1,
}  # fmt: skip
WITHIN_S = 30.0
CLOCKS_APART_S = 5.0
REFUSED = (401, 403)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a server after it was asked; None where it could not be reached."""

    findings: tuple[Finding, ...]
    abilities: Abilities | None = None


async def examined(tier: str, endpoint: Endpoint, session: Session, limits: Limits) -> Seen:
    """All that can be told of one server."""
    about = f"tier {tier}, {endpoint.name}"
    door = Door(session, endpoint, WITHIN_S)
    try:
        status, listed = await door.list_models(within_s=limits.connect_s + WITHIN_S)
    except (Unreachable, TimedOut) as failed:
        fix = f"start it, or correct tiers.{tier}.urls: `curl {endpoint.url}/v1/models` on this machine should answer"
        return Seen((problem(about, f"cannot be reached: {why(failed)}", fix),))
    if (refused := not_listed(about, tier, status)) is not None:
        return Seen((refused,))
    abilities = with_models(UNKNOWN, listed, endpoint.model)
    findings = [*model_findings(about, tier, endpoint, abilities)]
    try:
        if endpoint.dialect == "vllm":
            abilities = await find_abilities(door, abilities)
        findings += [await logprobs_finding(about, tier, door), *await clock_findings(about, door)]
    except (Unreachable, TimedOut) as failed:
        findings.append(problem(about, f"did not answer a short question within {WITHIN_S:g} s: {why(failed)}",
                                "look at its log; a server that is still loading its model answers later"))  # fmt: skip
    return Seen(tuple(findings), abilities)


def why(failed: Exception) -> str:
    """In the words of what is behind it, where that has any."""
    return str(failed.__cause__ or "") or str(failed)


def not_listed(about: str, tier: str, status: int) -> Finding | None:
    """What is wrong where a server does not list its models."""
    if status in REFUSED:
        return problem(about, f"refuses our key ({status})", f"set tiers.{tier}.api_key, or its environment variable")
    if status != 200:
        return problem(
            about, f"does not list its models ({status} to /v1/models)",
            f"is this an OpenAI-compatible server? give tiers.{tier}.urls without /v1",
        )  # fmt: skip
    return None


def model_findings(about: str, tier: str, endpoint: Endpoint, abilities: Abilities) -> Iterator[Finding]:
    """Whether it serves the tier's model."""
    if endpoint.model not in abilities.models:
        served = ", ".join(abilities.models) or "nothing"
        yield problem(
            about, f"does not serve {endpoint.model!r}, but {served}",
            f"set tiers.{tier}.model to a name that it serves, or start vLLM with --served-model-name {endpoint.model}",
        )  # fmt: skip
        return
    room = "" if abilities.context_tokens is None else f", up to {abilities.context_tokens} tokens"
    yield good(about, f"serves {endpoint.model}{room}")


async def logprobs_finding(about: str, tier: str, door: Door) -> Finding:
    """Whether an answer comes with log-probabilities that say something, by the very rule that judges drafts."""
    prompt = Prompt(TRIAL, "doctor")
    received = await door.post("/v1/chat/completions", {"model": door.model, **TRIAL})
    if received is None:
        return problem(
            about, "refuses a chat request with log-probabilities",
            f"ask it by hand: `curl {door.endpoint.url}/v1/chat/completions`; a model without a chat template needs one"
            " (vLLM's --chat-template)",
        )  # fmt: skip
    try:
        draft = draft_of([delta_of(received, time.perf_counter())])
    except BadReply as bad:
        return problem(about, str(bad), f"is tiers.{tier}.urls an OpenAI-compatible server?")
    for choice in draft.choices:
        found = evidence_of(choice, prompt)
        if isinstance(found, Evidence):
            return good(about, f"answers, with log-probabilities of {len(found.tokens)} tokens")
        return warning(
            about, f"answers, but its log-probabilities say nothing ({found})",
            "as a drafter it would never be trusted: put its server's log-probabilities on, or a server between that"
            " drops them away; a model that only reasons within the first tokens may be well",
        )  # fmt: skip
    return problem(about, "answers without a choice", "look at its log")


async def clock_findings(about: str, door: Door) -> list[Finding]:
    """Whether its clock is ours."""
    return clock_of(about, await door.date(), datetime.now(UTC))


def clock_of(about: str, told: str | None, now: datetime) -> list[Finding]:
    """What a `Date` header says of two clocks."""
    try:
        apart_s = abs((parsedate_to_datetime(told or "") - now).total_seconds())
    except (TypeError, ValueError):
        return []
    if apart_s <= CLOCKS_APART_S:
        return []
    return [
        warning(
            about, f"its clock and this machine's are {apart_s:.0f} s apart",
            "keep both by NTP: certificates, budgets and keys end by the clock",
        )
    ]  # fmt: skip
