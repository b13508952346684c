"""The suite passes a gateway that keeps its promises, and finds each fault of one that does not: all that it breaks,
and nothing else."""

import unicodedata
from fnmatch import fnmatch

import aiohttp
import pytest
from fakes.faulty_gateway import Fault, FaultyGateway, Fields, flag

from server.conformance.areas.parameters import FIELDS, STREAM_FIELDS
from server.conformance.case import Result
from server.conformance.gateway import Gateway
from server.conformance.plays import LARGE
from server.conformance.stage import Stage
from server.conformance.suite import CASES, run
from server.conformance.upstream import Upstream

PATIENCE_S = 5.0
SHORT_PATIENCE_S = 0.3
KEPT = ("model", "messages", "stream", "prompt", "input", "max_tokens")
MOST = 100_000


async def results(fault: Fault, *, cascade: bool, patience_s: float = PATIENCE_S) -> list[Result]:
    """What the suite says of the faulty gateway."""
    async with (
        Upstream(0) as upstream,
        FaultyGateway(upstream.url, fault, cascade=cascade) as gateway,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        stage = Stage(Gateway(session, gateway.url, {}), upstream, "auto" if cascade else LARGE, cascade, patience_s)
        return [result async for result in run(stage)]


def names(results: list[Result], verdict: str) -> set[str]:
    """The cases with this verdict."""
    return {f"{result.area}/{result.name}" for result in results if result.verdict == verdict}


def matching(patterns: str) -> set[str]:
    """The cases that the patterns name; each must name one."""
    known = {f"{case.area}/{case.name}" for case in CASES}
    found = {pattern: {name for name in known if fnmatch(name, pattern)} for pattern in patterns.split()}
    assert all(found.values()), found
    return set().union(*found.values())


def deltas(event: Fields) -> list[Fields]:
    """What a chunk brings."""
    return [choice.get("delta") or {} for choice in event.get("choices") or ()]


def messages(reply: Fields) -> list[Fields]:
    """What a reply says."""
    return [choice["message"] for choice in reply.get("choices") or () if "message" in choice]


def calls(said: list[Fields]) -> list[Fields]:
    """The tool calls in messages or deltas."""
    return [call for one in said for call in one.get("tool_calls") or ()]


def keep_only(body: Fields) -> None:
    for name in body.keys() - {*KEPT}:
        del body[name]


def drop_seed(body: Fields) -> None:
    body.pop("seed", None)


def as_doubles(value: object) -> object:
    if isinstance(value, list):
        return [as_doubles(item) for item in value]
    if isinstance(value, dict):
        return {name: as_doubles(item) for name, item in value.items()}
    return int(float(value)) if isinstance(value, int) and not isinstance(value, bool) else value


def through_doubles(body: Fields) -> None:
    body.update(as_doubles(body))


def plain_messages(body: Fields) -> None:
    body["messages"] = [plain(turn) for turn in body["messages"]] if isinstance(body.get("messages"), list) else None


def plain(turn: Fields) -> Fields:
    content = turn.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    return {"role": turn.get("role"), "content": (content or "").encode("ascii", "ignore").decode() or "?"}


def rename_developer(body: Fields) -> None:
    for turn in body.get("messages") or ():
        if isinstance(turn, dict) and turn.get("role") == "developer":
            turn["role"] = "system"


def cut_prompt(body: Fields) -> None:
    for turn in body.get("messages") or ():
        if isinstance(turn, dict) and isinstance(turn.get("content"), str):
            turn["content"] = turn["content"][:MOST]


def drop_created(reply: Fields) -> None:
    reply.pop("created", None)


def tidy_text(reply: Fields) -> None:
    for message in messages(reply):
        message["content"] = message["content"] and unicodedata.normalize("NFC", message["content"])


def drop_unknown(reply: Fields, _: object = None) -> None:
    if "choices" not in reply:
        return
    for name in reply.keys() - {"id", "object", "created", "model", "choices", "usage"}:
        del reply[name]
    for choice in reply["choices"]:
        for name in choice.keys() - {"index", "message", "delta", "logprobs", "finish_reason", "text"}:
            del choice[name]
        for name in choice.get("message", {}).keys() & {"annotations", "x_of_the_message"}:
            del choice["message"][name]


def drop_logprobs(reply: Fields, _: object = None) -> None:
    for choice in reply.get("choices") or ():
        choice["logprobs"] = None


def drop_alternatives(reply: Fields, _: object = None) -> None:
    for choice in reply.get("choices") or ():
        for token in (choice.get("logprobs") or {}).get("content") or ():
            token["top_logprobs"] = []


def round_logprobs(reply: Fields, _: object = None) -> None:
    for choice in reply.get("choices") or ():
        for token in (choice.get("logprobs") or {}).get("content") or ():
            token["logprob"] = round(token["logprob"], 4)


def ask_logprobs(body: Fields) -> None:
    if "messages" in body:
        body["logprobs"] = True


def drop_reasoning(reply: Fields, _: object = None) -> None:
    for said in [*messages(reply), *deltas(reply)]:
        said.pop("reasoning", None)
        said.pop("reasoning_content", None)


def always_stop(reply: Fields, _: object = None) -> None:
    for choice in reply.get("choices") or ():
        choice["finish_reason"] = choice["finish_reason"] and "stop"


def own_reasons(reply: Fields, _: object = None) -> None:
    for choice in reply.get("choices") or ():
        choice["finish_reason"] = choice["finish_reason"] and "finished"


def drop_refusal(reply: Fields) -> None:
    for message in messages(reply):
        message.pop("refusal", None)


def one_index(reply: Fields, _: object = None) -> None:
    for choice in reply.get("choices") or ():
        choice["index"] = 0


def spoil_arguments(reply: Fields) -> None:
    for call in calls(messages(reply)):
        call["function"]["arguments"] = call["function"]["arguments"].replace(" ", "")


def one_call_index(event: Fields, _: Fields) -> None:
    for call in calls(deltas(event)):
        call["index"] = 0


def drop_call_names(event: Fields, _: Fields) -> None:
    for call in calls(deltas(event)):
        call["function"].pop("name", None)


def drop_text_of_callers(event: Fields, _: Fields) -> None:
    for delta in deltas(event):
        if delta.get("content") in ("Let", " me"):
            delta["content"] = ""


def new_ids(event: Fields, memory: Fields) -> None:
    event["id"] = f"chunk-{memory.setdefault('count', 0)}"
    memory["count"] += 1


def role_always(event: Fields, _: Fields) -> None:
    for delta in deltas(event):
        delta["role"] = "assistant"


def finish_twice(event: Fields, _: Fields) -> None:
    event["twice"] = any(choice.get("finish_reason") for choice in event.get("choices") or ())


def no_usage(event: Fields, _: Fields) -> None:
    event["drop"] = not event.get("choices") and "usage" in event


def ask_usage(body: Fields) -> None:
    if body.get("stream") and "messages" in body:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}


def part_emoji(event: Fields, _: Fields) -> None:
    for delta in deltas(event):
        if delta.get("content") == "\u200d":
            delta["content"] = ""


def end_at_empty(event: Fields, memory: Fields) -> None:
    for choice in event.get("choices") or ():
        delta = choice["delta"]
        if "role" not in delta and delta.get("content") == "" and not choice["finish_reason"]:
            memory["ended"] = True
        if memory.get("ended"):
            delta["content"] = ""


def cut_long(event: Fields, memory: Fields) -> None:
    memory["count"] = memory.get("count", 0) + 1
    event["drop"] = 1000 < memory["count"] < 2000


def wrong_total(reply: Fields) -> None:
    if "choices" in reply and messages(reply):
        reply["usage"]["total_tokens"] += 1


def wrong_streamed_total(event: Fields, _: Fields) -> None:
    if event.get("usage"):
        event["usage"]["total_tokens"] += 1


def shown_logprobs() -> Fault:
    return Fault(request=ask_logprobs, flags=frozenset({"shows logprobs"}))


def shown_usage() -> Fault:
    return Fault(request=ask_usage, flags=frozenset({"shows usage"}))


FIELD_CASES = " ".join(f"parameters/{name}" for name in (*FIELDS, *STREAM_FIELDS))
NOT_KEPT = FIELD_CASES.replace("parameters/max_tokens ", "")
LEFT_TO_THE_MODEL = (
    "errors/unknown-model errors/*messages* errors/temperature* errors/negative-* errors/failed-model */error"
)
STREAMED_CALLS = "tool-calls/streamed*"
SINGLE: dict[str, tuple[Fault, str]] = {
    "drops every other field": (
        Fault(request=keep_only),
        f"{NOT_KEPT} replies/logprobs replies/logprobs-streamed replies/choices* stream-format/usage-asked "
        "usage/sum-streamed usage/counts-streamed usage/counts-of-choices errors/temperature-of-wrong-type",
    ),
    "drops max_tokens": (
        Fault(request=lambda body: body.pop("max_tokens", None)),
        "parameters/max_tokens errors/negative-max_tokens*",
    ),
    "drops the seed": (Fault(request=drop_seed), "parameters/seed parameters/seed-beyond-2-to-53"),
    "numbers as doubles": (Fault(request=through_doubles), "parameters/seed-beyond-2-to-53 parameters/numbers"),
    "plain messages": (
        Fault(request=plain_messages),
        "parameters/messages parameters/messages-of-tools parameters/image parameters/audio parameters/unicode "
        "parameters/large-prompt",
    ),
    "no developers": (Fault(request=rename_developer), "parameters/messages-of-developer"),
    "short prompts": (Fault(request=cut_prompt), "parameters/large-prompt"),
    "no created": (Fault(whole=drop_created), "replies/shape"),
    "tidy text": (Fault(whole=tidy_text), "replies/text"),
    "known fields only": (Fault(whole=drop_unknown, chunk=drop_unknown), "replies/unknown-*"),
    "no logprobs": (
        Fault(whole=drop_logprobs, chunk=drop_logprobs), "replies/logprobs replies/logprobs-streamed"),
    "no alternatives": (
        Fault(whole=drop_alternatives, chunk=drop_alternatives), "replies/logprobs replies/logprobs-streamed"),
    "rounded logprobs": (
        Fault(whole=round_logprobs, chunk=round_logprobs), "replies/logprobs replies/logprobs-streamed"),
    "shows logprobs": (shown_logprobs(), "replies/logprobs-unasked"),
    "no reasoning": (Fault(whole=drop_reasoning, chunk=drop_reasoning), "replies/reasoning*"),
    "always stop": (
        Fault(whole=always_stop, chunk=always_stop),
        f"replies/finish-length replies/finish-content_filter tool-calls/one {STREAMED_CALLS}",
    ),
    "own finish reasons": (
        Fault(whole=own_reasons, chunk=own_reasons), f"replies/finish-* tool-calls/one {STREAMED_CALLS}"),
    "no refusal": (Fault(whole=drop_refusal), "replies/refusal"),
    "one index": (Fault(whole=one_index, chunk=one_index), "replies/choices*"),
    "crosstalk": (flag("crosstalk"), "replies/simultaneous"),
    "spoilt arguments": (Fault(whole=spoil_arguments), "tool-calls/one tool-calls/parallel"),
    "one call index": (Fault(chunk=one_call_index), "tool-calls/streamed-parallel tool-calls/streamed-interleaved"),
    "no call names": (Fault(chunk=drop_call_names), STREAMED_CALLS),
    "no text before calls": (Fault(chunk=drop_text_of_callers), "tool-calls/streamed-after-text"),
    "plain stream": (flag("plain stream"), "stream-format/event-stream"),
    "no end": (flag("no end"), "stream-format/done completions/stream"),
    "two ends": (flag("two ends"), "stream-format/done"),
    "new ids": (Fault(chunk=new_ids), "stream-format/one-identity"),
    "role always": (Fault(chunk=role_always), "stream-format/role"),
    "finish twice": (
        Fault(chunk=finish_twice), f"stream-format/finish-reason replies/finish-* {STREAMED_CALLS}"),
    "no usage in streams": (
        Fault(chunk=no_usage), "stream-format/usage-asked usage/sum-streamed usage/counts-streamed"),
    "usage always": (shown_usage(), "stream-format/usage-unasked"),
    "parted emoji": (Fault(chunk=part_emoji), "stream-format/scripts"),
    "ends at an empty delta": (Fault(chunk=end_at_empty), "stream-format/empty-deltas"),
    "talks of comments": (flag("talks of comments"), "stream-format/comments"),
    "short answers": (Fault(chunk=cut_long), "stream-format/long-answer"),
    "never tells": (flag("never tells"), f"truncation/* */stream-cut {LEFT_TO_THE_MODEL}"),
    "wrong total": (Fault(whole=wrong_total), "usage/sum usage/counts usage/counts-of-choices"),
    "wrong total in streams": (Fault(chunk=wrong_streamed_total), "usage/sum-streamed usage/counts-streamed"),
    "plain errors": (flag("plain errors"), "errors/* */error truncation/429"),
    "one shape": (flag("one shape"), "*/answer */stream"),
}  # fmt: skip
SLOW: dict[str, tuple[Fault, str]] = {
    "buffers": (flag("buffers"), "stream-format/live disconnects/stream-amid"),
    "ignores disconnects": (flag("ignores disconnects"), "disconnects/*"),
}
CASCADE: dict[str, tuple[Fault, str]] = {
    "blends": (flag("blends"), "mixing/sure-draft"),
    "leaks": (flag("leaks"), "mixing/rejected-* mixing/late-doubt mixing/simultaneous-decisions"),
    "apologises": (
        flag("apologises"),
        f"mixing/broken-draft mixing/failed-draft truncation/* */stream-cut {LEFT_TO_THE_MODEL}",
    ),
    "bills both": (flag("bills both"), "mixing/usage"),
    "crosstalk": (flag("crosstalk"), "replies/simultaneous mixing/simultaneous-decisions"),
}


@pytest.mark.parametrize("cascade", [False, True])
async def test_a_gateway_that_keeps_its_promises_passes(cascade: bool) -> None:
    seen = await results(Fault(), cascade=cascade)

    assert not [result for result in seen if result.verdict == "FAIL"]
    assert names(seen, "not run") == (set() if cascade else {"disconnects/escalated"} | matching("mixing/*"))


async def test_one_model_may_go_on_where_the_other_stopped() -> None:
    seen = await results(flag("goes on"), cascade=True)

    assert not names(seen, "FAIL")
    assert "10 words of the draft" in [result.seen for result in seen if result.name == "late-doubt"]


@pytest.mark.parametrize("name", SINGLE)
async def test_a_fault_fails_the_cases_that_are_about_it(name: str) -> None:
    fault, patterns = SINGLE[name]

    seen = await results(fault, cascade=False)

    assert names(seen, "FAIL") == matching(patterns), [result for result in seen if result.verdict == "FAIL"]


@pytest.mark.parametrize("name", SLOW)
async def test_a_fault_that_shows_by_waiting_fails_the_cases_that_are_about_it(name: str) -> None:
    fault, patterns = SLOW[name]

    seen = await results(fault, cascade=True, patience_s=SHORT_PATIENCE_S)

    assert names(seen, "FAIL") == matching(patterns), [result for result in seen if result.verdict == "FAIL"]


@pytest.mark.parametrize("name", CASCADE)
async def test_a_fault_of_a_cascade_fails_the_cases_that_are_about_it(name: str) -> None:
    fault, patterns = CASCADE[name]

    seen = await results(fault, cascade=True)

    assert names(seen, "FAIL") == matching(patterns), [result for result in seen if result.verdict == "FAIL"]


def test_every_case_can_fail() -> None:
    shown = set().union(*(matching(patterns) for _, patterns in (SINGLE | SLOW | CASCADE).values()))

    assert shown == matching("*")


async def test_an_api_that_is_not_there_is_not_served() -> None:
    seen = await results(flag("chat only"), cascade=False)

    assert names(seen, "not served") == matching("completions/* responses/* messages/*")
    assert not names(seen, "FAIL")
