"""What makes a draft unfit whatever its score: the checks that come before scoring. Pure functions."""

from collections.abc import Callable, Mapping, Sequence

import jsonschema_rs
import orjson

from models.answer import Choice
from models.prompt import Prompt
from models.wire import JsonObject
from router.events import CheckReason

LOOP_REPEATS = 4
LOOP_CHARACTERS = 40
LOOP_WINDOW = 4000
REFUSAL_WINDOW = 160
REFUSALS = (
    "i can't help with",
    "i can’t help with",
    "i cannot help with",
    "i can't assist",
    "i can’t assist",
    "i cannot assist",
    "i'm unable to",
    "i’m unable to",
    "i am unable to",
    "i'm not able to",
    "i’m not able to",
    "i am not able to",
    "as an ai",
    "i don't have enough information",
    "i do not have enough information",
)

Check = Callable[[Choice, Prompt], bool]


def is_empty(choice: Choice, _prompt: Prompt) -> bool:
    """Nothing was said: no text, no tool call."""
    return not choice.text.strip() and not choice.tool_calls


def is_looping(choice: Choice, _prompt: Prompt) -> bool:
    """The text ends in the same piece four times or more, over 40 characters or more; linear in the text's end."""
    end = choice.text[-LOOP_WINDOW:]
    if len(end) < LOOP_CHARACTERS:
        return False
    matches = prefix_matches(end[::-1])
    return any(
        period * LOOP_REPEATS <= period + matches[period] and period + matches[period] >= LOOP_CHARACTERS
        for period in range(1, len(end) // LOOP_REPEATS + 1)
    )


def prefix_matches(text: str) -> list[int]:
    """At each place, how many characters from there on are as at the beginning (Gusfield's Z function, 1997)."""
    found = [0] * len(text)
    left = right = 0
    for place in range(1, len(text)):
        length = min(found[place - left], right - place) if place < right else 0
        while place + length < len(text) and text[length] == text[place + length]:
            length += 1
        found[place] = length
        if place + length > right:
            left, right = place, place + length
    return found


def is_refused(choice: Choice, _prompt: Prompt) -> bool:
    """The model says that it will not or cannot, in its refusal field or at the answer's beginning."""
    beginning = choice.text[:REFUSAL_WINDOW].lower()
    return bool(choice.refusal) or any(refusal in beginning for refusal in REFUSALS)


def is_cut(choice: Choice, prompt: Prompt) -> bool:
    """The answer was cut, and not by the client's own limit."""
    return choice.finish_reason == "length" and not prompt.limits_length


def is_malformed(choice: Choice, prompt: Prompt) -> bool:
    """A tool call that cannot be made, or text that is not the JSON asked for."""
    if choice.tool_calls:
        return not all(is_callable(call.name, call.arguments, prompt) for call in choice.tool_calls)
    return not fits_format(choice.text, prompt.fields.get("response_format"))


def is_callable(name: str, arguments: str, prompt: Prompt) -> bool:
    """Whether the client offered such a tool and would take such arguments."""
    schemas = offered_tools(prompt)
    return name in schemas and fits_schema(arguments or "{}", schemas[name])


def offered_tools(prompt: Prompt) -> Mapping[str, JsonObject]:
    """The parameter schema of each function that the client offered."""
    tools = prompt.fields.get("tools")
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    schemas: dict[str, JsonObject] = {}
    for function in functions:
        if isinstance(function, dict) and isinstance(name := function.get("name"), str):
            parameters = function.get("parameters")
            schemas[name] = parameters if isinstance(parameters, dict) else {}
    return schemas


def fits_format(text: str, response_format: object) -> bool:
    """Whether the text is what `response_format` asks for; a format unknown here is left to the model."""
    if not isinstance(response_format, dict):
        return True
    match response_format.get("type"):
        case "json_object":
            return fits_schema(text, {"type": "object"})
        case "json_schema":
            wanted = response_format.get("json_schema")
            schema = wanted.get("schema") if isinstance(wanted, dict) else None
            return fits_schema(text, schema if isinstance(schema, dict) else {})
        case _:
            return True


def fits_schema(text: str, schema: JsonObject) -> bool:
    """Whether the text is JSON of this schema. A schema that is none itself, or refers elsewhere, judges nothing."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    try:
        return jsonschema_rs.is_valid(schema, value, retriever=refuse_to_fetch)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return True


def refuse_to_fetch(uri: str) -> JsonObject:
    """A client's schema never makes the gateway fetch anything."""
    raise ValueError(f"{uri!r} is not fetched")


CHECKS: dict[CheckReason, Check] = {
    "empty": is_empty,
    "malformed": is_malformed,
    "cut": is_cut,
    "refused": is_refused,
    "looping": is_looping,
}


def failed_check(choices: Sequence[Choice], prompt: Prompt, checks: Sequence[CheckReason]) -> CheckReason | None:
    """The first of the wanted checks that some choice fails."""
    for reason, check in CHECKS.items():
        if reason in checks and any(check(choice, prompt) for choice in choices):
            return reason
    return None
