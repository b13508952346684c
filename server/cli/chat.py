"""`smallfirst chat`: a conversation with a running gateway, in a terminal."""

import asyncio
import contextlib
import sys
import unicodedata
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import aiohttp
import orjson
from rich.console import Console
from rich.style import Style
from rich.text import Text

from models.errors import ModelError
from models.parsing import delta_of, message_of
from models.sse import DONE, EventReader
from models.tokens import Tokens
from router.scorers import probability
from server.cli.console import shown
from server.headers import PREFIX

REFUSED = (401, 403)
SHADES = ((0.9, "green"), (0.6, "yellow"), (0.0, "red"))


class CannotChat(Exception):
    """The gateway refused, failed, or is not there."""


@dataclass
class Conversation:
    """Who is talked to, and what was said."""

    url: str
    model: str
    max_tokens: int
    headers: Mapping[str, str]
    messages: list[dict[str, str]] = field(default_factory=list)

    def body(self) -> bytes:
        """The request for the next answer."""
        return orjson.dumps(
            {
                "model": self.model,
                "messages": self.messages,
                "max_tokens": self.max_tokens,
                "temperature": 0,
                "stream": True,
                "stream_options": {"include_usage": True},
                "logprobs": True,
            }
        )


def run_chat(url: str, model: str | None, max_tokens: int, api_key: str | None = None) -> int:
    """Until end of input or Ctrl-C at the prompt; 1 where there is no gateway to talk to."""
    console = Console(highlight=False)
    with asyncio.Runner() as runner:
        try:
            headers = shown(api_key)
            model = model or runner.run(first_model(url.rstrip("/"), headers))
            conversation = Conversation(url.rstrip("/"), model, max_tokens, headers)
        except CannotChat as failed:
            console.print(f"error: {failed}", style="red", markup=False)
            return 1
        console.print(
            f"{conversation.model} at {conversation.url}. An empty line forgets what was said; Ctrl-D ends.",
            style="dim",
        )
        with contextlib.suppress(KeyboardInterrupt, EOFError):
            while True:
                converse(runner, console, conversation)
    console.print()
    return 0


def converse(runner: asyncio.Runner, console: Console, conversation: Conversation) -> None:
    """One question and its answer; Ctrl-C while it answers stops the answer alone."""
    asked = ask(console)
    if not asked:
        conversation.messages.clear()
        return
    conversation.messages.append({"role": "user", "content": asked})
    try:
        answer = runner.run(show_answer(console, conversation))
        conversation.messages.append({"role": "assistant", "content": answer})
    except KeyboardInterrupt:
        conversation.messages.pop()
        console.print("\nstopped", style="dim")
    except CannotChat as failed:
        conversation.messages.pop()
        console.print(f"error: {failed}", style="red", markup=False)


def ask(console: Console) -> str:
    """What the person types; raises EOFError at the end of input."""
    return console.input("[bold]> [/bold]").strip() if sys.stdin.isatty() else input().strip()


async def first_model(url: str, headers: Mapping[str, str]) -> str:
    """The gateway's first cascade."""
    try:
        async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{url}/v1/models") as reply:
            body = await reply.read()
            if reply.status in REFUSED:
                raise CannotChat(message_of(body))
            listed = orjson.loads(body)
            return str(listed["data"][0]["id"])
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as failed:
        raise CannotChat(f"no gateway answers at {url}: start one with `smallfirst up`") from failed


async def show_answer(console: Console, conversation: Conversation) -> str:
    """Print an answer as it comes, then where it came from; returns its text."""
    said: list[str] = []
    usage: Mapping[str, object] | None = None
    headers = {"content-type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(headers=conversation.headers) as session,
            session.post(f"{conversation.url}/v1/chat/completions", data=conversation.body(), headers=headers) as reply,
        ):
            if reply.status != 200:
                raise CannotChat(message_of(await reply.read()))
            async with aclosing(events_of(reply)) as events:
                async for event in events:
                    delta = delta_of(event, 0.0)
                    usage = delta.reply.get("usage") or usage
                    for piece in delta.pieces:
                        text = piece.message.get("content") or ""
                        said.append(text)
                        console.print(shaded(text, piece.tokens), end="", soft_wrap=True)
    except (aiohttp.ClientError, TimeoutError, ModelError) as failed:
        console.print()
        raise CannotChat(str(failed)) from failed
    console.print()
    console.print(story(reply.headers, usage), style="dim", markup=False)
    return "".join(said)


async def events_of(reply: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """The data of each event, up to the end."""
    reader = EventReader()
    async for received in reply.content.iter_any():
        for event in reader.feed(received):
            if event == DONE:
                return
            yield event


def shaded(text: str, tokens: Tokens) -> Text:
    """A piece of text in the colours of its tokens; in that of the least sure one where they do not add up to it."""
    if tokens.text != text:
        return Text(printable(text), style=shade(min(tokens.logprobs, default=None)))
    return Text.assemble(*((printable(token.text), shade(token.logprob)) for token in tokens))


def printable(text: str) -> str:
    """The text without what would command the terminal."""
    return "".join(character for character in text if character in "\n\t" or unicodedata.category(character) != "Cc")


def shade(logprob: float | None) -> Style:
    """Green where the model was sure, yellow where less, red where it guessed."""
    if logprob is None:
        return Style()
    sure = probability(logprob)
    return Style(color=next(colour for least, colour in SHADES if sure >= least))


def story(known: Mapping[str, str], usage: Mapping[str, object] | None) -> str:
    """One line: who answered and why, and the cost beside the final tier's."""
    parts = [f"{known.get(PREFIX + 'tier')} ({known.get(PREFIX + 'reason')}"]
    if PREFIX + "confidence" in known:
        parts[0] += f", confidence {known[PREFIX + 'confidence']}, threshold {known.get(PREFIX + 'threshold')}"
    parts[0] += ")"
    bill = usage.get("smallfirst") if usage else None
    if isinstance(bill, dict):
        cost, alone = bill.get("cost"), bill.get("cost_final_alone")
        if isinstance(cost, float | int) and isinstance(alone, float | int):
            about = "about " if bill.get("cost_final_alone_estimated") else ""
            parts.append(f"cost {cost:.3g}, the final tier alone {about}{alone:.3g}")
    return "; ".join(parts)
