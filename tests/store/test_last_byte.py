"""A decision is on the disk before the last byte of its answer leaves: shown on the application itself."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes.scripted import Script, ScriptedServer

from server.app import create_app
from server.settings.schema import Settings

ASK = {"model": "auto", "messages": [{"role": "user", "content": "is it?"}]}
MESSAGES = {**ASK, "max_tokens": 9}


@pytest.mark.parametrize(
    ("path", "body", "large", "status"),
    [
        ("/v1/chat/completions", ASK, Script("no it is not"), 200),
        ("/v1/chat/completions", {**ASK, "stream": True}, Script("no it is not"), 200),
        ("/v1/responses", {"model": "auto", "input": "is it?", "stream": True}, Script("no it is not"), 200),
        ("/v1/messages", {**MESSAGES, "stream": True}, Script("no it is not"), 200),
        ("/v1/chat/completions", ASK, Script(status=500), 503),
        ("/v1/chat/completions", {**ASK, "stream": True}, Script("one two three", trouble="cut-stream"), 502),
    ],
)
async def test_a_decision_is_on_the_disk_before_the_last_byte_leaves(
    path: str, body: Mapping[str, Any], large: Script, status: int, tmp_path: Path
) -> None:
    async with ScriptedServer(Script("may be", p=0.2)) as small, ScriptedServer(large) as final:
        app = create_app(settings([small.url, final.url], tmp_path))
        seen: list[tuple[bool, bytes]] = []

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                seen.append((message.get("more_body", False), written_in(tmp_path / "journal")))

        async with app.router.lifespan_context(app):
            await app(scope_of(path), Client(body), send)

    *before, (more, journal) = seen
    assert not more
    assert all(goes_on and not on_disk for goes_on, on_disk in before)
    assert json.loads(journal)["decision"]["status"] == status


class Client:
    """Sends a body, and stays."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def __call__(self) -> Mapping[str, Any]:
        if self._messages:
            return self._messages.pop()
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}


def scope_of(path: str) -> dict[str, Any]:
    """A POST of JSON from this machine."""
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    return {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}  # fmt: skip


def settings(urls: list[str], folder: Path) -> Settings:
    """A cascade whose drafts are not sure enough."""
    tier = {"model": "scripted", "price": {"input": 1.0, "output": 1.0}}
    tiers = {name: {**tier, "urls": [url]} for name, url in zip(("small", "large"), urls, strict=True)}
    cascades = {"auto": {"tiers": ["small", "large"], "threshold": 0.5}}
    return Settings.model_validate({"tiers": tiers, "cascades": cascades, "store": {"folder": str(folder)}})


def written_in(journal: Path) -> bytes:
    """What is in the journal now."""
    return b"".join(path.read_bytes() for path in journal.iterdir())
