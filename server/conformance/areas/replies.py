"""Reply fidelity: what the model said reaches the client as it was said, less what the client did not ask for."""

import asyncio
import math
from dataclasses import replace
from functools import partial

from server.conformance.case import Case, case
from server.conformance.json_values import Json, JsonObject, at, objects, same, short
from server.conformance.plays import Reply, thinks, words
from server.conformance.stage import Stage
from server.conformance.streams import folded, text_at
from server.conformance.wrong import Wrong, expect, expect_same, expect_text

AREA = "replies"
TOP: JsonObject = {"system_fingerprint": "fp_1", "x_of_the_server": {"deep": [1, 2.5, None, "é"]}}
OF_CHOICE: JsonObject = {"stop_reason": "END", "x_of_the_choice": 7}
CITED: JsonObject = {"start_index": 0, "end_index": 3, "title": "é", "url": "https://example.com/"}
LISTED = 2


async def text_is_kept(stage: Stage) -> str:
    """The text is the model's, to the character: scripts, emoji, white space, quotes."""
    reply = words('naïve 北京 👩‍👩‍👧‍👦 \n\n\t e\u0301 \u2028 \\ "quoted"  two spaces ')
    with stage.plays(reply) as play:
        body = (await stage.ask(play)).whole()
    expect_text(at(body, "choices", 0, "message", "content"), reply.text)
    return f"{len(reply.text)} characters"


async def has_the_shape(stage: Stage) -> str:
    """A reply has an id, `object`, `created`, `model`, and choices with index, message, role and finish reason."""
    body = (await stage.ask_plainly()).whole()
    expect(bool(text_at(body, "id")), "no id")
    expect_same(at(body, "object"), "chat.completion", "object")
    expect(isinstance(at(body, "created"), int), f"created is {short(at(body, 'created'))}")
    expect(bool(text_at(body, "model")), "no model")
    expect_same(at(body, "choices", 0, "index"), 0, "index")
    expect_same(at(body, "choices", 0, "message", "role"), "assistant", "role")
    expect(bool(text_at(at(body, "choices", 0), "finish_reason")), "no finish_reason")
    return "all there"


async def unknown_fields_are_kept(stage: Stage) -> str:
    """Fields of the server's own in the reply and in the choice are kept."""
    with stage.plays(replace(words("yes it is"), fields=TOP, choice_fields=OF_CHOICE)) as play:
        body = (await stage.ask(play)).whole()
    expect_kept(body, TOP, "the reply")
    expect_kept(at(body, "choices", 0), OF_CHOICE, "the choice")
    return "kept"


async def unknown_message_fields_are_kept(stage: Stage) -> str:
    """Fields of the server's own in the message are kept."""
    reply = words("yes it is")
    own: JsonObject = {"annotations": [{"type": "url_citation", "url_citation": CITED}], "x_of_the_message": "kept"}
    with stage.plays(replace(reply, message={**reply.message, **own})) as play:
        body = (await stage.ask(play)).whole()
    expect_kept(at(body, "choices", 0, "message"), own, "the message")
    return "kept"


async def unknown_chunk_fields_are_kept(stage: Stage) -> str:
    """Fields of the server's own in a stream's chunks and their choices are kept."""
    with stage.plays(replace(words("yes it is"), fields=TOP, choice_fields=OF_CHOICE)) as play:
        chunks = (await stage.ask(play, stream=True)).streamed()
    expect_kept(next((chunk for chunk in chunks if text_of_chunk(chunk)), None), TOP, "a chunk")
    expect(any(kept(at(chunk, "choices", 0), OF_CHOICE) for chunk in chunks), "the choices' fields were dropped")
    return "kept"


def text_of_chunk(chunk: JsonObject) -> str:
    """The text that a chunk brings."""
    return text_at(at(chunk, "choices", 0, "delta"), "content")


def kept(value: Json, fields: JsonObject) -> bool:
    """Whether all fields are in the object as they were."""
    return isinstance(value, dict) and all(name in value and same(value[name], fields[name]) for name in fields)


def expect_kept(value: Json, fields: JsonObject, where: str) -> None:
    """Raise Wrong where one of the fields is not in the object."""
    for name in fields:
        expect(isinstance(value, dict) and name in value, f"{name} of {where} was dropped")
        expect_same(at(value, name), fields[name], f"{name} of {where}")


async def logprobs_are_given(stage: Stage) -> str:
    """Who asks for log-probabilities gets those of every token, with as many alternatives as were asked for."""
    reply = words("yes it is")
    with stage.plays(reply) as play:
        body = (await stage.ask(play, logprobs=True, top_logprobs=LISTED)).whole()
    expect_tokens(objects(at(body, "choices", 0, "logprobs", "content")), reply)
    return f"{len(reply.pieces)} tokens, {LISTED} alternatives each"


async def logprobs_are_streamed(stage: Stage) -> str:
    """The same in a stream."""
    reply = words("yes it is")
    with stage.plays(reply) as play:
        chunks = (await stage.ask(play, stream=True, logprobs=True, top_logprobs=LISTED)).streamed()
    choices = folded(chunks)
    expect(0 in choices, "no choice came")
    expect_tokens(objects(choices[0].tokens), reply)
    return f"{len(reply.pieces)} tokens, {LISTED} alternatives each"


def expect_tokens(tokens: list[JsonObject], reply: Reply) -> None:
    """Raise Wrong where the tokens' entries are not the reply's."""
    expect(bool(tokens), "no log-probabilities came")
    expect_same([token.get("token") for token in tokens], [piece.token for piece in reply.pieces], "the tokens")
    for token, piece in zip(tokens, reply.pieces, strict=True):
        expect_same(token.get("logprob"), math.log(piece.p), "a log-probability")
        alternatives = objects(token.get("top_logprobs"))
        expect(len(alternatives) == LISTED, f"{len(alternatives)} alternatives instead of {LISTED}")


async def logprobs_are_hidden(stage: Stage) -> str:
    """Who does not ask gets no log-probabilities and no token ids, whole or streamed, even if the gateway asked."""
    with stage.plays(words("yes it is")) as play:
        whole = (await stage.ask(play)).whole()
        chunks = (await stage.ask(play, stream=True)).streamed()
    for shown in (whole, *chunks):
        for choice in objects(at(shown, "choices")):
            expect(not objects(at(choice, "logprobs", "content")), "log-probabilities that nobody asked for")
            expect(not choice.get("token_ids"), "token ids that nobody asked for")
    return "none shown"


async def reasoning_is_kept(key: str, stage: Stage) -> str:
    """Thoughts are kept."""
    reply = thinks(key, "let me think", "yes it is")
    with stage.plays(reply) as play:
        whole = (await stage.ask(play)).whole()
        choices = folded((await stage.ask(play, stream=True)).streamed())
    message = at(whole, "choices", 0, "message")
    expect_text(text_at(message, "reasoning") or text_at(message, "reasoning_content"), "let me think", "the reasoning")
    expect_text(text_at(message, "content"), reply.text)
    expect(0 in choices, "no choice came in the stream")
    expect_text(choices[0].reasoning, "let me think", "the streamed reasoning")
    expect_text(choices[0].content, reply.text, "the streamed text")
    return f"kept as {key}" if text_at(message, key) else f"kept, but not as {key}"


async def finish_reason_is_kept(reason: str, stage: Stage) -> str:
    """The finish reason is kept."""
    with stage.plays(replace(words("yes it is"), finish_reason=reason)) as play:
        whole = (await stage.ask(play)).whole()
        choices = folded((await stage.ask(play, stream=True)).streamed())
    expect_same(at(whole, "choices", 0, "finish_reason"), reason, "finish_reason")
    expect(0 in choices, "no choice came in the stream")
    expect_same(choices[0].finish_reasons, [reason], "the stream's finish reasons")
    return reason


async def refusal_is_kept(stage: Stage) -> str:
    """A message's `refusal` is kept."""
    reply = words("")
    refused = "I cannot say that."
    with stage.plays(replace(reply, message={"role": "assistant", "content": None, "refusal": refused})) as play:
        body = (await stage.ask(play)).whole()
    expect_text(at(body, "choices", 0, "message", "refusal"), refused, "the refusal")
    return "kept"


async def all_choices_are_kept(stage: Stage) -> str:
    """With `n` of 2 both answers come, each whole under its index."""
    reply = words("yes it is")
    with stage.plays(reply) as play:
        body = (await stage.ask(play, n=2)).whole()
    texts = {str(choice.get("index")): at(choice, "message", "content") for choice in objects(at(body, "choices"))}
    expect_same(texts, {str(index): reply.choice(index, 2).text for index in range(2)}, "the choices")
    return "two choices"


async def all_choices_are_streamed(stage: Stage) -> str:
    """The same in a stream, where their pieces alternate."""
    reply = words("yes it is")
    with stage.plays(reply) as play:
        choices = folded((await stage.ask(play, n=2, stream=True)).streamed())
    texts: JsonObject = {str(index): choice.content for index, choice in choices.items()}
    expect_same(texts, {str(index): reply.choice(index, 2).text for index in range(2)}, "the choices")
    return "two choices"


async def simultaneous_answers_stay_apart(stage: Stage) -> str:
    """Of twenty requests at once, streamed and not, each gets its own answer."""

    async def asked(number: int) -> None:
        reply = words(f"this is answer {number} and no other")
        with stage.plays(reply) as play:
            answer = await stage.ask(play, **({"stream": True} if number % 2 else {}))
            if number % 2:
                choices = folded(answer.streamed())
                expect_text(choices[0].content if 0 in choices else "", reply.text)
            else:
                expect_text(at(answer.whole(), "choices", 0, "message", "content"), reply.text)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(asked(number))
    except* Wrong as wrongs:
        raise Wrong(f"{len(wrongs.exceptions)} of 20: {wrongs.exceptions[0]}") from None
    return "20 answers"


CASES = (
    case(AREA, "shape", has_the_shape, "nothing"),
    case(AREA, "text", text_is_kept),
    case(AREA, "unknown-fields", unknown_fields_are_kept),
    case(AREA, "unknown-message-fields", unknown_message_fields_are_kept),
    case(AREA, "unknown-chunk-fields", unknown_chunk_fields_are_kept),
    case(AREA, "logprobs", logprobs_are_given),
    case(AREA, "logprobs-streamed", logprobs_are_streamed),
    case(AREA, "logprobs-unasked", logprobs_are_hidden),
    *(Case(AREA, key, f"Thoughts under `{key}` are kept, whole and streamed, under that name or the other usual one",
           partial(reasoning_is_kept, key)) for key in ("reasoning", "reasoning_content")),
    *(Case(AREA, f"finish-{reason}", f"The finish reason `{reason}` is kept, whole and streamed",
           partial(finish_reason_is_kept, reason)) for reason in ("stop", "length", "content_filter")),
    case(AREA, "refusal", refusal_is_kept),
    case(AREA, "choices", all_choices_are_kept),
    case(AREA, "choices-streamed", all_choices_are_streamed),
    case(AREA, "simultaneous", simultaneous_answers_stay_apart),
)  # fmt: skip
