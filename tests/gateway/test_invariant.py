"""Whatever the models and the client do, and whenever: what is sent is one answer, and no call is left behind.

The models' words tell who wrote them and where they stand (`s3 ` is the small model's fourth), so that an answer can be
read: a beginning of the draft, then the large model's rest, with no word missing, twice, or of a rejected draft.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fakes.trusting import gate_of
from hypothesis import event, given, settings
from hypothesis import strategies as st

from models.answer import Delta, Finish, Piece, Usage
from models.errors import ModelError, Overloaded, TimedOut, Unreachable
from models.prompt import Prompt
from models.tokens import Token, Tokens
from router.call import Tier
from router.cascade import Cascade
from router.failover import Failover
from router.gate import OnDoubt, StreamRules
from router.money import LengthRatio, Price
from router.policy import Policy
from router.scorers import SCORERS
from server.access.caller import anyone
from server.answering import Answer, Order
from server.doors.chat import CHAT
from server.doors.door import Arrival
from server.metrics import Metrics
from server.stopping import Deadlines

THRESHOLD = 0.5
PROMPT_TOKENS = 10
ERRORS = (Unreachable("gone"), Overloaded("full"), TimedOut("late"))


@dataclass(frozen=True)
class Schedule:
    """How a model answers: the probability of each word, how many words come at once, the pauses before, and the place
    at which it fails instead of going on."""

    letter: str
    ps: tuple[float, ...]
    chunks: tuple[int, ...]
    pauses: tuple[int, ...]
    fails_at: int | None
    error: ModelError

    def words(self, since: int = 0) -> list[str]:
        """From that place on."""
        return [f"{self.letter}{place} " for place in range(since, len(self.ps))]


@dataclass
class Scheduled:
    """A model that keeps to its schedule; `running` and `calls` are its calls."""

    schedule: Schedule
    running: int = 0
    calls: int = 0
    takes_handover: bool = False
    goes_on: bool = True
    prompts: list[Prompt] = field(default_factory=list)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """The words after those that were written already."""
        self.calls += 1
        self.running += 1
        self.prompts.append(prompt)
        try:
            async for part in self._parts(prompt):
                yield part
        finally:
            self.running -= 1

    async def _parts(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        schedule, since = self.schedule, prompt.shown_tokens
        place = since
        if prompt.streams:
            yield delta_of(prompt, {"role": "assistant", "content": ""}, [], [], None)
        for turn in range(len(schedule.ps) + 1):
            size = schedule.chunks[turn % len(schedule.chunks)] if prompt.streams else len(schedule.ps)
            for _ in range(schedule.pauses[turn % len(schedule.pauses)]):
                await asyncio.sleep(0)
            end = min(place + size, len(schedule.ps))
            if schedule.fails_at is not None and end >= schedule.fails_at:
                raise schedule.error
            words, ps = schedule.words()[place:end], schedule.ps[place:end]
            yield delta_of(prompt, {"content": "".join(words)}, words, ps, "stop" if end == len(schedule.ps) else None)
            place = end
            if end == len(schedule.ps):
                break
        yield Finish(Usage(PROMPT_TOKENS + since, max(0, len(schedule.ps) - since)))


def delta_of(prompt: Prompt, message: Any, words: Sequence[str], ps: Sequence[float], finish: str | None) -> Delta:
    """A chunk, or a whole reply, as a server would have sent it."""
    ids = tuple(range(len(words)))
    kind = "delta" if prompt.streams else "message"
    choice = {"index": 0, kind: message, "finish_reason": finish, "logprobs": None, "token_ids": list(ids)}
    tokens = Tokens.of(Token(word, math.log(p)) for word, p in zip(words, ps, strict=True))
    reply: Any = {"id": "theirs", "object": "chat.completion", "created": 1, "model": "theirs", "choices": [choice]}
    return Delta(reply, (Piece(0, message, tokens, finish, ids),), time.perf_counter(), "tokenizer")


@st.composite
def schedules(draw: st.DrawFn, letter: str, ps: Sequence[float]) -> Schedule:
    """Any."""
    count = draw(st.integers(1, 14))
    return Schedule(
        letter,
        tuple(draw(st.lists(st.sampled_from(ps), min_size=count, max_size=count))),
        tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))),
        tuple(draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))),
        draw(st.none() | st.integers(1, count)),
        draw(st.sampled_from(ERRORS)),
    )


@dataclass
class Client:
    """Reads what is sent; leaves after so many messages, if ever."""

    leaves_after: int | None
    sent: list[dict[str, Any]] = field(default_factory=list)
    has_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> dict[str, Any]:
        """Nothing, until it leaves."""
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """One message of the answer."""
        await asyncio.sleep(0)
        self.sent.append(message)
        if self.leaves_after is not None and len(self.sent) >= self.leaves_after:
            self.has_left.set()

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def ended(self) -> bool:
        """Whether the answer was ended properly."""
        return bool(self.sent) and self.sent[-1].get("more_body") is False


def cascade_of(small: Scheduled, large: Scheduled, rules: StreamRules) -> Cascade:
    """The two, judged by their least likely word."""
    policy = Policy("threshold", SCORERS["min-logprob"], THRESHOLD, ("empty", "cut", "looping"), "escalate", rules)
    tiers = (Tier("small", small, Price(1, 1)), Tier("large", large, Price(10, 10)))
    return Cascade("auto", tiers, policy, LengthRatio(), Failover(1.0))


async def answered(small: Scheduled, large: Scheduled, rules: StreamRules, client: Client, *, stream: bool) -> None:
    """One request, to its end or the client's."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    asked = CHAT.read(json.dumps(body).encode(), Arrival("id", 7, {}))
    order = Order(cascade_of(small, large, rules), asked, CHAT, 60.0, time.perf_counter(), anyone())
    async with asyncio.timeout(20):
        await Answer(order, Metrics(), Deadlines())({"type": "http"}, client.receive, client.send)


def rules_of(on_doubt: OnDoubt, gate_tokens: int, holdback: int, stop_at: float | None) -> StreamRules:
    """With a gate that opens for whoever is likelier right than not."""
    return StreamRules(on_doubt, gate_tokens, holdback, 0.5, stop_at, gate_of(1, 2, 4, 8, threshold=THRESHOLD))


@settings(max_examples=500)
@given(
    small=schedules("s", (0.99, 0.99, 0.99, 0.7, 0.2)),
    large=schedules("L", (0.9,)),
    rules=st.builds(
        rules_of,
        st.sampled_from(("hold", "continue", "continue", "finish")),
        st.sampled_from((1, 2, 4, 8)),
        st.integers(0, 5),
        st.sampled_from((None, 0.0, 0.3)),
    ),
    leaves_after=st.none() | st.integers(1, 12),
    stream=st.sampled_from((True, True, False)),
)
def test_what_is_sent_is_one_answer(
    small: Schedule, large: Schedule, rules: StreamRules, leaves_after: int | None, stream: bool
) -> None:
    drafter, final, client = Scheduled(small), Scheduled(large), Client(leaves_after)

    asyncio.run(answered(drafter, final, rules, client, stream=stream))

    assert (drafter.running, final.running) == (0, 0)
    assert (drafter.calls, final.calls <= 1) == (1, True)
    if client.ended and client.sent[0]["status"] == 200:
        read_stream(client.body, small, large, rules) if stream else read_whole(client.body, small, large)
    event(f"stream {stream}, ended {client.ended}, asked large {final.calls}")


def read_whole(body: bytes, small: Schedule, large: Schedule) -> None:
    """An answer in one piece is all of one model's."""
    reply = json.loads(body)
    words = reply["choices"][0]["message"]["content"].split(" ")[:-1]
    assert f"{' '.join(words)} " in ("".join(small.words()), "".join(large.words()))
    assert (reply["id"], reply["model"], reply["created"]) == ("chatcmpl-id", "auto", 7)
    assert reply["usage"]["completion_tokens"] == len(words)
    assert reply["choices"][0]["finish_reason"] == "stop"
    if words[0].startswith("s"):
        assert min(small.ps) >= THRESHOLD


def read_stream(body: bytes, small: Schedule, large: Schedule, rules: StreamRules) -> None:
    """A stream is a beginning of the draft and the large model's rest; it is whole, or ends with an error."""
    *events, rest = body.decode().split("\n\n")
    assert rest == ""
    chunks = [json.loads(one.removeprefix("data: ")) for one in events if one != "data: [DONE]"]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", ()))
    found = re.fullmatch(r"((?:s\d+ )*)((?:L\d+ )*)", text)
    assert found is not None
    drafted, finished = found[1].split(), found[2].split()
    assert drafted == [word.strip() for word in small.words()[: len(drafted)]]
    assert finished == [word.strip() for word in large.words(len(drafted))[: len(finished)]]
    if rules.on_doubt != "finish":
        assert min(small.ps[: len(drafted)], default=1.0) >= THRESHOLD
    if rules.on_doubt == "hold":
        assert not (drafted and finished)
    if "error" in chunks[-1]:
        assert events[-1] != "data: [DONE]"
        chunks = chunks[:-1]
    else:
        assert events[-1] == "data: [DONE]"
        whole(chunks, drafted, finished, small, large)
    assert {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks} <= {("chatcmpl-id", "auto", 7)}
    assert sum("role" in choice["delta"] for chunk in chunks for choice in chunk["choices"]) <= 1


def whole(chunks: list[Any], drafted: list[str], finished: list[str], small: Schedule, large: Schedule) -> None:
    """A stream that says that it is whole."""
    by_small = not finished and len(drafted) == len(small.ps)
    assert len(drafted) + len(finished) == (len(small.ps) if by_small else max(len(large.ps), len(drafted)))
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert chunks[-1]["choices"] == []
    usage = chunks[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (PROMPT_TOKENS, len(drafted) + len(finished))
