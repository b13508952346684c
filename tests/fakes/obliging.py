"""A model server that does as it is asked, in vLLM's shapes: it calls the tools that it is offered, writes JSON by the
schema that it is given, and says some words otherwise. What it says is made from the request alone."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from aiohttp import web
from fakes.scripted import Script, ScriptedServer, split

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")
NAMED = re.compile(r"(?<=[a-z,] )[A-Z]\w+(?: [A-Z]\w+)*")
LEAST = {"string": "something", "integer": 7, "number": 7.5, "boolean": True, "null": None}


def obliging(*, p: float = 0.99, pause_s: float = 0.0, reasoning: str = "") -> Script:
    """The script of a server that obliges; each of its tokens has probability `p`."""
    manner = Script(p=p, pause_s=pause_s, reasoning=reasoning)

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await ScriptedServer(cut(answer_to(body, manner), body)).answer(request, body)

    return Script(handler=answer)


def answer_to(body: dict[str, Any], manner: Script) -> Script:
    """What a model would say to this request, had it all the tokens it wants."""
    asked = last_words(body)
    if tools := tools_to_call(body, asked):
        return replace(manner, tool_calls=[call_of(place, tool, asked) for place, tool in enumerate(tools)])
    schema = wanted_schema(body, asked)
    if schema is not None:
        return replace(manner, text=json.dumps(fitting(schema, schema, Hints(asked)), ensure_ascii=False))
    return replace(manner, text=f"Here is what you asked for: {asked.strip() or 'nothing'}")


def cut(script: Script, body: dict[str, Any]) -> Script:
    """The answer as far as the request's `stop` and its limit let it come."""
    if script.tool_calls:
        return script
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        script = replace(script, text=script.text.partition(stop)[0])
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    words = split(script.text)
    if limit is None or len(words) <= limit:
        return script
    return replace(script, text="".join(words[:limit]), finish_reason="length")


def last_words(body: dict[str, Any]) -> str:
    """The text of the last message."""
    return text_of(body["messages"][-1])


def text_of(message: dict[str, Any]) -> str:
    """A message's text, of whatever parts it is."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", f"({part['type']})") for part in content)


def tools_to_call(body: dict[str, Any], asked: str) -> list[dict[str, Any]]:
    """Those of the offered functions that the request forces, or that a user's words come near the name of."""
    offered = [tool["function"] for tool in body.get("tools") or () if tool["type"] == "function"]
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        return [tool for tool in offered if tool["name"] == choice["function"]["name"]]
    from_user = body["messages"][-1]["role"] == "user"
    meant = [tool for tool in offered if from_user and is_meant(tool["name"], asked)]
    if choice == "none":
        return []
    if choice == "required":
        meant = meant or offered[:1]
    return meant[:1] if body.get("parallel_tool_calls") is False else meant


def is_meant(name: str, asked: str) -> bool:
    """Whether some long word of the name is in the text."""
    return any(word in asked.lower() for word in name.lower().split("_") if len(word) > 3)


def call_of(place: int, tool: dict[str, Any], asked: str) -> dict[str, Any]:
    """A call of the function, as vLLM words it."""
    schema = tool.get("parameters") or {"type": "object"}
    arguments = json.dumps(fitting(schema, schema, Hints(asked)), ensure_ascii=False)
    function = {"name": tool["name"], "arguments": arguments}
    return {"id": f"chatcmpl-tool-{place}", "type": "function", "function": function}


def wanted_schema(body: dict[str, Any], asked: str) -> dict[str, Any] | None:
    """The schema of the answer: the request's own, or for `json_object` one that a message holds, or else the keys that
    the user named in quotes."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return wanted["json_schema"]["schema"]
    if wanted.get("type") != "json_object":
        return None
    told = next((schema for message in body["messages"] for schema in objects_in(text_of(message))), None)
    keys = {key: {"type": "string"} for key in quoted_in(asked)}
    return told or {"type": "object", "properties": keys or {"answer": {"type": "string"}}}


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """The JSON schemas of objects that a text holds."""
    for start in (found.start() for found in re.finditer(r"{", text)):
        try:
            found, _ = json.JSONDecoder().raw_decode(text[start:])
        except ValueError:
            continue
        if "properties" in found:
            yield found


def quoted_in(text: str) -> list[str]:
    """What stands in quotes."""
    return [single or double for single, double in QUOTED.findall(text)]


class Hints:
    """What a text offers to fill a form with, each thing once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._numbers = [float(number) for number in NUMBER.findall(text)]
        self._texts = quoted_in(text) + NAMED.findall(text)

    def number(self, otherwise: float) -> float:
        """The next number."""
        return self._numbers.pop(0) if self._numbers else otherwise

    def words(self, otherwise: str) -> str:
        """The next quoted text, or name."""
        return self._texts.pop(0) if self._texts else otherwise


def fitting(schema: dict[str, Any], root: dict[str, Any], hints: Hints) -> Any:
    """A value that fits the schema, as far as schemas for models go: no patterns, no recursion."""
    if "$ref" in schema:
        *_, group, name = schema["$ref"].split("/")
        return fitting(root[group][name], root, hints)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return fitting(schema[several][0], root, hints)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return next((value for value in schema["enum"] if str(value) in hints.text), schema["enum"][0])
    match schema.get("type", "object"):
        case "object":
            return {name: fitting(part, root, hints) for name, part in (schema.get("properties") or {}).items()}
        case "array":
            return [fitting(schema.get("items") or {"type": "string"}, root, hints)] * max(1, schema.get("minItems", 1))
        case "string":
            return hints.words(LEAST["string"])
        case "integer" | "number" as kind:
            number = bounded(hints.number(LEAST[kind]), schema)
            return int(number) if kind == "integer" else number
        case kind:
            return LEAST[kind]


def bounded(number: float, schema: dict[str, Any]) -> float:
    """The number, or the nearest whole one that the schema's bounds let in."""
    lowest = max(schema.get("minimum", number), schema.get("exclusiveMinimum", number - 1) + 1)
    highest = min(schema.get("maximum", number), schema.get("exclusiveMaximum", number + 1) - 1)
    return min(max(number, lowest), highest)
