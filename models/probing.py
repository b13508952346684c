"""Asking a server what it can do and how busy it is. Whatever it does not answer stays unknown."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import orjson

from models.abilities import Abilities, Load, SpeculationKind
from models.endpoint import Endpoint
from models.errors import BadReply
from models.handover.contract import KEY as DRAFT_KEY
from models.likeness import Look, hashed, look_of
from models.parsing import NOT_A_REPLY, speculation_of
from models.route import Method, route_to
from models.session import Session
from models.wire import JsonObject, WireChoice, WireReply

# Text that tokenizers cut differently: cases, spaces, digits, accents, code, other scripts, emoji.
SAMPLE_TEXT = "The  quick brown FOX, naïve 1234567.89 §\n\tdef f(x): return {'k': [x]}  # 你好 мир 🙂 ok"
SPECULATES = "vllm:spec_decode_num_draft_tokens_total"
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
CACHE = "vllm:kv_cache_usage_perc"
SLEEP = "vllm:engine_sleep_state"
AWAKE = b'sleep_state="awake"'
TRIAL_TOKENS = 6
OK = 200
NO_ANSWER = 502, b""
MAX_BYTES = 4 * 2**20
HUGE = 1e12


@dataclass(frozen=True, slots=True)
class Door:
    """How to ask a server; an answer that takes longer than `timeout_s` is not waited for."""

    session: Session
    endpoint: Endpoint
    timeout_s: float

    @property
    def model(self) -> str:
        """The tier's model, by its name there."""
        return self.endpoint.model

    async def get(self, path: str) -> bytes | None:
        """The body of a 200; None for any other answer. Raises Unreachable or TimedOut where none comes."""
        status, received = await self.answered("GET", path, within_s=self.timeout_s)
        return received if status == OK else None

    async def post(self, path: str, body: JsonObject, *, within_s: float | None = None) -> bytes | None:
        """As `get`."""
        status, received = await self.answered("POST", path, orjson.dumps(body), within_s=within_s or self.timeout_s)
        return received if status == OK else None

    async def list_models(self, *, within_s: float) -> tuple[int, bytes]:
        """The status and the list of models. Raises as `get`."""
        return await self.answered("GET", "/v1/models", within_s=within_s)

    async def date(self) -> str | None:
        """The time by the server's clock, as it writes it. Raises as `get`."""
        route = route_to(self.endpoint, "GET", "/v1/models")
        with await self.session.sent(route, by_s=asyncio.get_running_loop().time() + self.timeout_s) as reply:
            return reply.header("date")

    async def answered(self, method: Method, path: str, body: bytes = b"", *, within_s: float) -> tuple[int, bytes]:
        """The status and the body; a body that is too long, or that cannot be read, is as good as no answer. Raises as
        `get`."""
        route = route_to(self.endpoint, method, path)
        with await self.session.sent(route, body, by_s=asyncio.get_running_loop().time() + within_s) as reply:
            try:
                received = await reply.whole(MAX_BYTES)
            except BadReply:
                return NO_ANSWER
            return NO_ANSWER if received is None else (reply.status, received)


async def find_abilities(door: Door, known: Abilities) -> Abilities:
    """What a vLLM server, or one like it, can do, beside what is known: from its version and tokenizer, and from two
    answers of a few tokens that show whether it verifies drafts. Raises as `Door.get`."""
    version = version_of(await door.get("/version"))
    metrics = await door.get("/metrics") or b""
    abilities = replace(known, version=version, tokenizer=await fingerprint(door))
    return await with_trial(door, abilities, counts_drafts=SPECULATES.encode() in metrics)


async def find_load(door: Door) -> Load:
    """How busy the server says it is. Raises as `Door.get`."""
    return load_of(await door.get("/metrics") or b"")


def with_models(abilities: Abilities, listed: bytes, model: str) -> Abilities:
    """What a list of models tells, beside what is known already."""
    try:
        cards = orjson.loads(listed)["data"]
        names = tuple(str(card["id"]) for card in cards)
        adapters = tuple(str(card["id"]) for card in cards if card.get("parent"))
        lengths = {card["id"]: card.get("max_model_len") for card in cards}
    except NOT_A_REPLY:
        return abilities
    length = lengths.get(model) or next((one for one in lengths.values() if one), None)
    context_tokens = length if isinstance(length, int) else None
    return replace(abilities, models=names, adapters=adapters, context_tokens=context_tokens)


def text_of(received: bytes | None) -> str | None:
    """The text in a reply of /detokenize."""
    try:
        return str(orjson.loads(received or b"")["prompt"])
    except NOT_A_REPLY:
        return None


def version_of(received: bytes | None) -> str | None:
    """The engine's version."""
    try:
        return str(orjson.loads(received or b"")["version"])
    except NOT_A_REPLY:
        return None


async def fingerprint(door: Door) -> str | None:
    """What tells tokenizers apart: a hash of the ids of one sample text."""
    body: JsonObject = {"model": door.model, "prompt": SAMPLE_TEXT, "add_special_tokens": False}
    ids = tokens_of(await door.post("/tokenize", body))
    return hashed(ids) if ids else None


def tokens_of(received: bytes | None) -> tuple[int, ...]:
    """The token ids in a reply of /tokenize."""
    try:
        return tuple(map(int, orjson.loads(received or b"")["tokens"]))
    except NOT_A_REPLY:
        return ()


def trial_of(door: Door) -> JsonObject:
    """The request for a short answer, always the same."""
    return {
        "model": door.model, "prompt": SAMPLE_TEXT, "max_tokens": TRIAL_TOKENS, "temperature": 0,
        "ignore_eos": True, "logprobs": 2, "return_token_ids": True,
    }  # fmt: skip


def choice_in(reply: WireReply) -> WireChoice | None:
    """The short answer, if there is one."""
    return next(iter(reply.get("choices") or ()), None)


async def look_again(door: Door, known: Abilities) -> Look | None:
    """What the server looks like now; None where it does not say all that it is known by. Raises as `Door.get`."""
    tokenizer = await fingerprint(door)
    if tokenizer is None and known.tokenizer is not None:
        return None
    choice = choice_in(reply_of(await door.post("/v1/completions", trial_of(door))))
    return None if choice is None else look_of(tokenizer, choice)


async def with_trial(door: Door, abilities: Abilities, *, counts_drafts: bool) -> Abilities:
    """What a short answer shows, and where drafts are verified there, one with a draft of it."""
    body = trial_of(door)
    first = reply_of(await door.post("/v1/completions", body))
    choice = choice_in(first)
    if choice is not None:
        abilities = replace(
            abilities,
            logprobs=choice.get("logprobs") is not None,
            look=look_of(abilities.tokenizer, choice),
        )
    if not counts_drafts:
        return replace(abilities, speculation="none")
    if choice is None:
        return abilities  # it could not answer just now
    kind: SpeculationKind = "drafter"
    if speculation_of(first) is None and choice.get("token_ids"):
        draft: JsonObject = {DRAFT_KEY: list(choice.get("token_ids") or ())}
        second = reply_of(await door.post("/v1/completions", {**body, "vllm_xargs": draft}))
        kind = "handover" if speculation_of(second) is not None else "drafter"
    return replace(abilities, speculation=kind)


def reply_of(received: bytes | None) -> WireReply:
    """A completion, or nothing."""
    try:
        reply: WireReply = orjson.loads(received or b"{}")
        for choice in reply.get("choices") or ():
            tuple(choice.get("token_ids") or ())
    except NOT_A_REPLY:
        return {}
    return reply


def load_of(exposition: bytes) -> Load:
    """The load in Prometheus' text format, summed over the engines of one server; the cache's, of the fullest."""
    return Load(
        running=int(sum(value for _, value in series(exposition, RUNNING))),
        waiting=int(sum(value for _, value in series(exposition, WAITING))),
        cache_share=max((value for _, value in series(exposition, CACHE)), default=None),
        asleep=any(AWAKE in labels and not value for labels, value in series(exposition, SLEEP)),
    )


def series(exposition: bytes, name: str) -> Iterator[tuple[bytes, float]]:
    """The labels and the sane values of a metric's series."""
    start = b"\n" + name.encode() + b"{"
    place = exposition.find(start)
    while place >= 0:
        end = exposition.find(b"\n", place + 1)
        labels, _, written = exposition[place : end if end >= 0 else None].rpartition(b" ")
        with contextlib.suppress(ValueError):
            value = float(written)
            if 0 <= value < HUGE:
                yield labels, value
        place = exposition.find(start, place + 1)
