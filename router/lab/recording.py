"""Asks a model for the answers that something is fitted on, and keeps them in a file: goes on where it stopped."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import aiohttp
import orjson

from models.parsing import message_of
from models.wire import JsonObject

TOP_LOGPROBS = 5
ANSWER_S = 600.0


class BadPrompts(Exception):
    """A line that is no prompt."""


class CannotRecord(Exception):
    """The server is not there, or refuses what is asked."""


def unanswered(prompts: Path, answers: Path) -> list[JsonObject]:
    """The chat requests of the prompts that have no answer in the file yet. Raises BadPrompts or OSError.

    A prompt is a line of JSON: a chat request's fields, or `{"prompt": "..."}` for a question alone.
    """
    known = {orjson.dumps(line.get("request")) for line in read_lines(mended(answers))} if answers.exists() else set()
    return [request for request in map(request_of, read_lines(prompts)) if orjson.dumps(request) not in known]


def mended(answers: Path) -> Path:
    """The file, without the end of a line that was cut off while it was written."""
    content = answers.read_bytes()
    if content and not content.endswith(b"\n"):
        answers.write_bytes(content[: content.rfind(b"\n") + 1])
    return answers


async def record(
    requests: Sequence[JsonObject], keep: Callable[[bytes], object], *, url: str, model: str, at_once: int
) -> int:
    """Ask `model` at `url` (an OpenAI-compatible server), so many requests at once, and `keep` a line for each answer
    as soon as it is there; how many got none. Raises CannotRecord."""
    turn = asyncio.Semaphore(at_once)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session:

        async def ask(request: JsonObject) -> bool:
            async with turn:
                reply = await answer_of(session, f"{url.rstrip('/')}/v1/chat/completions", model, request)
            if reply is not None:
                keep(orjson.dumps({"request": request, "reply": reply}, option=orjson.OPT_APPEND_NEWLINE))
            return reply is not None

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(request)) for request in requests]
        except* CannotRecord as wrong:
            raise CannotRecord(str(wrong.exceptions[0])) from wrong
    return sum(not one.result() for one in asked)


async def answer_of(session: aiohttp.ClientSession, url: str, model: str, request: JsonObject) -> JsonObject | None:
    """The reply, with log-probabilities; None where the server could not answer just now."""
    body = {**request, "model": model, "stream": False, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
    try:
        async with session.post(url, json=body) as reply:
            received = await reply.read()
            if reply.status >= 500 or reply.status == 429:
                return None
            if reply.status != 200:
                raise CannotRecord(f"{url} answered {reply.status}: {message_of(received)}")
            said = orjson.loads(received)
            return said if isinstance(said, dict) else None
    except aiohttp.ClientConnectorError as nobody:
        raise CannotRecord(f"nobody answers at {url}") from nobody
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
        return None


def request_of(line: JsonObject) -> JsonObject:
    """A prompt's chat request. Raises BadPrompts."""
    prompt = line.get("prompt")
    if isinstance(prompt, str) and len(line) == 1:
        return {"messages": [{"role": "user", "content": prompt}]}
    if not isinstance(line.get("messages"), list):
        raise BadPrompts('a line of the prompts has neither "messages" nor a "prompt" alone')
    return {name: value for name, value in line.items() if name not in ("model", "stream")}


def read_lines(file: Path) -> Iterator[JsonObject]:
    """The JSON objects of a file, one a line. Raises BadPrompts or OSError."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                said = orjson.loads(line)
            except orjson.JSONDecodeError as broken:
                raise BadPrompts(f"{file}, line {number}: no JSON") from broken
            if not isinstance(said, dict):
                raise BadPrompts(f"{file}, line {number}: no JSON object")
            yield said
