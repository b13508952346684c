"""The short way to the routes that answer: by path and method alone, and no further from the words for errors."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from server.front import Front


class Known(Exception):
    """Somebody words it."""


async def behind(_request: Request) -> Response:
    return PlainTextResponse("behind")


async def short(request: Request) -> Response:
    said = await request.body()
    if said == b"known":
        raise Known
    if said == b"unknown":
        raise ZeroDivisionError
    return PlainTextResponse("short")


async def worded(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("worded", 400)


def client() -> httpx.AsyncClient:
    application = Starlette(routes=[Route(path, behind, methods=["GET", "POST"]) for path in ("/a", "/b")])
    application.add_middleware(Front, endpoints={"/a": short}, wordings={Known: worded})
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://gateway")


async def test_a_post_to_a_known_path_is_answered_by_its_endpoint_and_all_else_by_the_application() -> None:
    async with client() as asking:
        said = [
            (await asking.request(method, path)).text
            for method, path in [("POST", "/a"), ("GET", "/a"), ("POST", "/b")]
        ]

    assert said == ["short", "behind", "behind"]


async def test_what_an_endpoint_raises_is_worded_where_it_is_known_and_goes_on_where_it_is_not() -> None:
    async with client() as asking:
        known = await asking.post("/a", content="known")
        with pytest.raises(ZeroDivisionError):
            await asking.post("/a", content="unknown")

    assert (known.status_code, known.text) == (400, "worded")
