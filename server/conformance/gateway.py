"""The gateway under test over HTTP: what it is asked, and every byte that it answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO

import aiohttp

from server.conformance.json_values import Json, JsonObject, at
from server.conformance.streams import DONE, Event, chunks_of, events_of
from server.conformance.wrong import Wrong, expect

OK = 200
FIRST_ERROR = 400
CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers and a body; `broke` says how the connection ended where it did so before the body's end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    broke: str | None = None

    @property
    def json(self) -> Json:
        """The body. Raises Wrong where it is no JSON."""
        try:
            value: Json = json.loads(self.body)
        except ValueError as broken:
            raise Wrong(f"{self.status} with a body that is no JSON: {self.start}") from broken
        return value

    @property
    def start(self) -> str:
        """The body's beginning, for a table."""
        return " ".join(self.body[:120].decode(errors="replace").split())

    @property
    def events(self) -> list[Event]:
        """The events of a stream."""
        return events_of(self.body)

    @property
    def chunks(self) -> list[JsonObject]:
        """The chunks of a chat stream, without its end."""
        return chunks_of(self.events)

    def whole(self) -> Json:
        """The body of a 200. Raises Wrong where it is none."""
        self.succeeded()
        return self.json

    def streamed(self) -> list[JsonObject]:
        """The chunks of a stream that ended well. Raises Wrong where it did not."""
        self.succeeded()
        error = self.error_event()
        expect(error is None, f"an error event: {at(error, 'message')}")
        return self.chunks

    def succeeded(self) -> None:
        """Raise Wrong unless it is a 200 that came whole."""
        expect(self.status == OK, f"{self.status}: {self.start}")
        expect(self.broke is None, f"the connection broke: {self.broke}")

    def error_event(self) -> Json:
        """The error that a stream told, if it told one."""
        for event in self.events:
            if event.data != DONE and (error := at(event.json, "error") or at(event.json, "response", "error")):
                return error
        return None


class Gateway:
    """Where it is, and how it is asked."""

    def __init__(self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> None:
        self._session = session
        self._url = url.rstrip("/").removesuffix("/v1")
        self._headers = headers

    async def post(self, path: str, body: JsonObject) -> Answer:
        """The answer to a JSON body."""
        return await self.send("POST", path, json.dumps(body, ensure_ascii=False).encode())

    async def send(self, method: str, path: str, body: bytes | None) -> Answer:
        """The answer to any bytes; status 0 where there was none."""
        status, headers, received = 0, dict[str, str](), bytearray()
        broke = None
        try:
            async with self.opened(method, path, body) as reply:
                status, headers = reply.status, {name.lower(): value for name, value in reply.headers.items()}
                async for part in reply.content.iter_any():
                    received += part
        except aiohttp.ClientError as broken:
            broke = type(broken).__name__
        return Answer(status, headers, bytes(received), broke)

    @asynccontextmanager
    async def opened(self, method: str, path: str, body: bytes | None) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's beginning; leaving the block closes the connection."""
        headers = {**self._headers, "content-type": "application/json"}
        async with self._session.request(
            method,
            f"{self._url}{path}",
            data=None if body is None else BytesIO(body),
            headers=headers,
            allow_redirects=False,
        ) as reply:
            try:
                yield reply
            finally:
                reply.close()


async def within(seconds: float, happens: asyncio.Event) -> bool:
    """Whether it happens in time."""
    try:
        async with asyncio.timeout(seconds):
            await happens.wait()
    except TimeoutError:
        return False
    return True
