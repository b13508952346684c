"""What makes a draft unfit whatever its score: the checks that come before scoring. Pure functions."""

import re
from collections.abc import Callable, Mapping, Sequence

from models.answer import Choice, ToolCall
from models.prompt import Prompt
from models.wire import Json, JsonObject
from router.events import CheckReason
from router.schemas import fits_schema

LOOP_WINDOW = 4000
FINISHED = {"stop", "length", "tool_calls", "function_call"}
CALL_MARKUP = ("<tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "<function=")
REFUSAL = re.compile(
    r"""^\W*+
    (?:(?:i[’']m|i\ am)\ (?:very\ |so\ )?sorry\b[^.!?]{0,40}?(?:\bbut\ |,\ |\.\ )
    |sorry,?\ (?:but\ )?
    |unfortunately,?\ )?
    (?:i\ (?:can[’']t|cannot|can\ not|won[’']t)\ (?:help|assist|answer|comply|provide|do\ that|fulfil)
    |i(?:[’']m|\ am)\ (?:unable|not\ able)\ to\b
    |as\ an\ ai\b
    |i\ (?:do\ not|don[’']t)\ have\ enough\ information)""",
    re.IGNORECASE | re.VERBOSE,
)

Check = Callable[[Choice, Prompt], bool]


def is_empty(choice: Choice, _prompt: Prompt) -> bool:
    """Nothing was said: no text, no tool call."""
    return not choice.text.strip() and not choice.tool_calls


def is_looping(choice: Choice, _prompt: Prompt) -> bool:
    """The text ends in the same piece again and again; linear in the text's end.

    Tables, rules and lists repeat too, so an answer that ended by itself must repeat far more than one that was cut.
    """
    was_cut = choice.finish_reason == "length"
    return ends_in_repeats(choice.text, repeats=4 if was_cut else 12, characters=40 if was_cut else 200)


def ends_in_repeats(text: str, *, repeats: int, characters: int) -> bool:
    """Whether the end is one piece `repeats` times or more, over `characters` or more.

    An end of that kind stands again one piece earlier, but for its first piece: so there is one only where the last
    `characters - characters // repeats` characters stand again, and most texts are done with that one look.
    """
    backwards = text[-LOOP_WINDOW:][::-1]
    last = backwards[: characters - characters // repeats]
    period = backwards.find(last, 1)
    while 0 < period * repeats <= len(backwards):
        length = max(period * repeats, characters)
        if length <= len(backwards) and backwards[period:length] == backwards[: length - period]:
            return True
        period = backwards.find(last, period + 1)
    return False


def is_refused(choice: Choice, _prompt: Prompt) -> bool:
    """The model says that it will not or cannot, in its refusal field or as the first thing in the answer."""
    return bool(choice.refusal) or REFUSAL.match(choice.text) is not None


def is_cut(choice: Choice, prompt: Prompt) -> bool:
    """The answer did not end by itself, and it was not the client's own limit that ended it."""
    if choice.finish_reason != "length":
        return choice.finish_reason not in FINISHED
    limit = prompt.length_limit
    return limit is None or 0 < choice.length < limit


def is_malformed(choice: Choice, prompt: Prompt) -> bool:
    """A tool call that was not asked for or cannot be made, or text that is not the JSON asked for."""
    wanted = prompt.fields.get("tool_choice")
    if choice.tool_calls:
        named = wanted_function(wanted)
        return wanted == "none" or not all(
            named in (None, call.name) and is_callable(call, prompt) for call in choice.tool_calls
        )
    if wanted == "required" or wanted_function(wanted) is not None:
        return True
    if offered_tools(prompt) and any(markup in choice.text for markup in CALL_MARKUP):
        return True
    return not fits_format(choice.text, prompt.fields.get("response_format"))


def wanted_function(tool_choice: Json) -> str | None:
    """The one function that a `tool_choice` names."""
    function = tool_choice.get("function") if isinstance(tool_choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def is_callable(call: ToolCall, prompt: Prompt) -> bool:
    """Whether the client offered such a tool and would take such arguments."""
    schemas = offered_tools(prompt)
    arguments = call.arguments or "{}"
    return (
        call.name in schemas
        and fits_schema(arguments, {"type": "object"})
        and fits_schema(arguments, schemas[call.name])
    )


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


CHECKS: dict[CheckReason, Check] = {
    "empty": is_empty,
    "malformed": is_malformed,
    "cut": is_cut,
    "refused": is_refused,
    "looping": is_looping,
}


def failed_check(choices: Sequence[Choice], prompt: Prompt, checks: Sequence[CheckReason]) -> CheckReason | None:
    """The first of the wanted checks that some choice fails; fewer choices than were asked for are an answer cut."""
    if "cut" in checks and len(choices) < prompt.choices:
        return "cut"
    for reason, check in CHECKS.items():
        if reason in checks and any(check(choice, prompt) for choice in choices):
            return reason
    return None
