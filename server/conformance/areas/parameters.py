"""Parameter fidelity: what the client asks for reaches the model as it was asked."""

from functools import partial

from server.conformance.case import Case, case
from server.conformance.json_values import Json, JsonObject, at, difference, short
from server.conformance.plays import Play, words
from server.conformance.stage import Stage
from server.conformance.wrong import expect, expect_text

AREA = "parameters"
SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "naïve — 市"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: JsonObject = {"name": "get_weather", "description": "The weather", "parameters": SCHEMA, "strict": True}
TOOLS: Json = [{"type": "function", "function": FUNCTION}]
PLAIN_TOOLS: Json = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
NAMED: Json = {"type": "function", "function": {"name": "get_weather"}}
JSON_SCHEMA: Json = {"type": "json_schema", "json_schema": {"name": "trip", "strict": True, "schema": SCHEMA}}

# Each is sent in a request of its own.
FIELDS: dict[str, JsonObject] = {
    "temperature": {"temperature": 0.7},
    "top_p": {"top_p": 0.9},
    "n": {"n": 2},
    "seed": {"seed": 7},
    "seed-beyond-2-to-53": {"seed": 9_007_199_254_740_993},
    "stop": {"stop": ["\n\n", "END", "。"]},
    "stop-as-text": {"stop": "END"},
    "presence_penalty": {"presence_penalty": 0.5},
    "frequency_penalty": {"frequency_penalty": -0.5},
    "logit_bias": {"logit_bias": {"50256": -100, "7": 1.5}},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "max_tokens": {"max_tokens": 64},
    "max_completion_tokens": {"max_completion_tokens": 64},
    "tools": {"tools": TOOLS},
    "tool_choice": {"tools": PLAIN_TOOLS, "tool_choice": NAMED},
    "tool_choice-none": {"tools": PLAIN_TOOLS, "tool_choice": "none"},
    "parallel_tool_calls": {"tools": PLAIN_TOOLS, "parallel_tool_calls": False},
    "response_format": {"response_format": JSON_SCHEMA},
    "response_format-json_object": {"response_format": {"type": "json_object"}},
    "reasoning_effort": {"reasoning_effort": "low"},
    "user": {"user": "user-1"},
    "metadata": {"metadata": {"trip": "北京 🚀"}},
    "store": {"store": False},
    "service_tier": {"service_tier": "auto"},
    "verbosity": {"verbosity": "low"},
    "prompt_cache_key": {"prompt_cache_key": "key-1"},
    "safety_identifier": {"safety_identifier": "someone"},
    "top_k": {"top_k": 20},
    "min_p": {"min_p": 0.05},
    "min_tokens": {"min_tokens": 2},
    "repetition_penalty": {"repetition_penalty": 1.1},
    "ignore_eos": {"ignore_eos": True},
    "stop_token_ids": {"stop_token_ids": [7, 8]},
    "skip_special_tokens": {"skip_special_tokens": False},
    "bad_words": {"bad_words": ["never", "nie"]},
    "priority": {"priority": -3},
    "chat_template_kwargs": {"chat_template_kwargs": {"enable_thinking": False}},
    "structured_outputs": {"structured_outputs": {"choice": ["yes", "no"]}},
    "guided_json": {"guided_json": SCHEMA},
    "guided_choice": {"guided_choice": ["yes", "no"]},
    "unknown-field": {"x_of_tomorrow": {"deep": [1, 2.5, None, {"true": True}]}},
    "numbers": {"x_numbers": [0, -1, 0.1, 1e-7, 1.5e300, 9_007_199_254_740_993, -0.30000000000000004]},
}
STREAM_FIELDS: dict[str, JsonObject] = {
    "stream_options": {"stream_options": {"include_usage": True}},
    "stream_options-of-vllm": {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
}
UNICODE = 'naïve 北京 мир שלום 👩‍👩‍👧‍👦 e\u0301 \u2028 \t "quoted" \\ </script> \u0001'
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE: JsonObject = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}
AUDIO: JsonObject = {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZF", "format": "wav"}}
MEGABYTE = 2**20
MOST_SHOWN = 75


async def field_arrives(fields: JsonObject, stream: bool, stage: Stage) -> str:
    """The fields reach the model."""
    with stage.plays(words("yes it is")) as play:
        answer = await stage.ask(play, **fields, **({"stream": True} if stream else {}))
        answer.succeeded()
    for name, value in fields.items():
        expect_arrived(play, name, value)
    return f"{short(fields, 60)} arrived"


def expect_arrived(play: Play, name: str, value: Json) -> None:
    """Raise Wrong unless every request to a model holds the field; a gateway may ask for more alternatives than its
    client did, and leave out a message's fields that are null."""
    expect(bool(play.requests), "nothing reached the model")
    for request in play.requests:
        got = request.body.get(name)
        expect(name in request.body, f"{name} did not arrive")
        more = name == "top_logprobs" and isinstance(got, int) and isinstance(value, int) and got >= value
        found = None if more else difference(without_nulls(got), without_nulls(value), name)
        expect(found is None, f"{found}")


def without_nulls(value: Json) -> Json:
    """A list of objects without their fields that are null; any other value as it is."""
    if not isinstance(value, list):
        return value
    return [{name: field for name, field in item.items() if field is not None} if isinstance(item, dict) else item
            for item in value]  # fmt: skip


async def messages_arrive(messages: list[JsonObject], stage: Stage) -> str:
    """The messages reach the model."""
    with stage.plays(words("yes it is")) as play:
        asked: list[Json] = [*messages, {"role": "user", "content": play.marker}]
        answer = await stage.gateway.post("/v1/chat/completions", {"model": stage.model, "messages": asked})
        answer.succeeded()
    expect_arrived(play, "messages", asked)
    return f"{len(asked)} messages arrived"


async def parts_arrive(part: JsonObject, stage: Stage) -> str:
    """A part of a message reaches the model."""
    with stage.plays(words("yes it is")) as play:
        content: Json = [{"type": "text", "text": play.marker}, part]
        asked: Json = [{"role": "user", "content": content}]
        answer = await stage.gateway.post("/v1/chat/completions", {"model": stage.model, "messages": asked})
        answer.succeeded()
    expect_arrived(play, "messages", asked)
    return "the part arrived"


async def large_prompt_arrives(stage: Stage) -> str:
    """A prompt of 1 MB reaches the model whole."""
    prompt = "word 語 " * (MEGABYTE // len("word 語 ".encode()))
    with stage.plays(words("yes it is")) as play:
        answer = await stage.gateway.post("/v1/chat/completions", stage.body(play.marker + prompt))
        answer.succeeded()
    expect(bool(play.requests), "nothing reached the model")
    for request in play.requests:
        expect_text(at(request.body, "messages", 0, "content"), play.marker + prompt, "the prompt")
    return f"{len(prompt.encode()):,} bytes arrived"


ROLES: list[JsonObject] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "And now?", "name": "ada"},
    {"role": "assistant", "content": "Then."},
]
DEVELOPER: list[JsonObject] = [{"role": "developer", "content": "Be brief."}]
TOOL_TURNS: list[JsonObject] = [
    {"role": "user", "content": "The weather?"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call-1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "北京"}'}}]},
    {"role": "tool", "tool_call_id": "call-1", "content": '{"sky": "☀"}'},
]  # fmt: skip
MESSAGES: dict[str, tuple[str, list[JsonObject]]] = {
    "messages": ("Turns of a system, a user with a name and an assistant", ROLES),
    "messages-of-developer": ("Instructions of the role `developer`", DEVELOPER),
    "messages-of-tools": ("An assistant's tool call and the tool's answer", TOOL_TURNS),
    "unicode": ("Text of many scripts, joined emoji, quotes and control characters",
                [{"role": "user", "content": UNICODE}]),
}  # fmt: skip
PARTS: dict[str, tuple[str, JsonObject]] = {
    "image": ("A picture as a data URL, with its `detail`,", IMAGE),
    "audio": ("Audio as `input_audio`", AUDIO),
}


def field_case(name: str, fields: JsonObject, *, stream: bool) -> Case:
    """The case of some fields; its meaning shows a value that is short."""
    shown = short(fields, MOST_SHOWN)
    example = "" if shown.endswith("…") else f": `{shown}`"
    meaning = f"The model gets {' and '.join(f'`{field}`' for field in fields)} as the client sent it{example}"
    return Case(AREA, name, meaning, partial(field_arrives, fields, stream))


CASES = (
    *(field_case(name, fields, stream=False) for name, fields in FIELDS.items()),
    *(field_case(name, fields, stream=True) for name, fields in STREAM_FIELDS.items()),
    *(Case(AREA, name, f"{what} reach the model unchanged", partial(messages_arrive, messages))
      for name, (what, messages) in MESSAGES.items()),
    *(Case(AREA, name, f"{what} reaches the model unchanged", partial(parts_arrive, part))
      for name, (what, part) in PARTS.items()),
    case(AREA, "large-prompt", large_prompt_arrives),
)  # fmt: skip
