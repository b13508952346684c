"""An answer's head goes out with what follows it."""

import asyncio
from collections.abc import Iterable

from server.head_first import HeadFirst

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"{}"


class Wire(asyncio.Transport):
    """Remembers what was sent at once, and how it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.parts: list[bytes] = []
        self.closed: str | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        parts = [bytes(part) for part in list_of_data]
        self.parts += parts
        self.sent.append(b"".join(parts))

    def is_closing(self) -> bool:
        return self.closed is not None

    def get_write_buffer_size(self) -> int:
        return 7

    def close(self) -> None:
        self.closed = "closed"

    def abort(self) -> None:
        self.closed = "aborted"


def opened() -> tuple[Wire, HeadFirst]:
    wire = Wire()
    return wire, HeadFirst(wire, asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_write() -> None:
    wire, transport = opened()

    transport.write(HEAD)
    transport.write(BODY)
    await asyncio.sleep(0)

    assert wire.sent == [HEAD + BODY]


async def test_a_head_that_nothing_follows_goes_out_by_itself() -> None:
    wire, transport = opened()

    transport.write(HEAD)
    assert (wire.sent, transport.get_write_buffer_size()) == ([], 7 + len(HEAD))
    await asyncio.sleep(0)

    assert (wire.sent, transport.get_write_buffer_size()) == ([HEAD], 7)


async def test_what_follows_later_is_not_held_up() -> None:
    wire, transport = opened()

    for data in (HEAD, b"one", b"two"):
        transport.write(data)

    assert wire.sent == [HEAD + b"one", b"two"]


async def test_a_second_head_comes_behind_the_first_answer() -> None:
    wire, transport = opened()

    for data in (HEAD, HEAD, BODY):
        transport.write(data)
    await asyncio.sleep(0)

    assert b"".join(wire.sent) == HEAD + HEAD + BODY


async def test_a_connection_closes_behind_what_was_written() -> None:
    wire, transport = opened()

    transport.write(HEAD)
    transport.close()
    await asyncio.sleep(0)

    assert (wire.sent, wire.closed) == ([HEAD], "closed")


async def test_a_connection_that_is_cut_sends_no_more() -> None:
    wire, transport = opened()

    transport.write(HEAD)
    transport.abort()
    await asyncio.sleep(0)

    assert (wire.sent, wire.closed) == ([], "aborted")


async def test_a_head_that_waits_for_a_client_that_has_left_is_dropped() -> None:
    wire, transport = opened()

    transport.write(HEAD)
    wire.closed = "by the client"  # some transports refuse to be written to from here on
    await asyncio.sleep(0)

    assert wire.sent == []


async def test_no_empty_part_is_handed_on() -> None:
    wire, transport = opened()

    transport.write(HEAD)
    transport.write(b"")

    assert wire.parts == [HEAD]
