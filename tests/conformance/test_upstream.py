"""The scripted server goes on with an answer, as vLLM does, from token ids or from text."""

from typing import Any

import aiohttp

from server.conformance.plays import LARGE, words
from server.conformance.upstream import Upstream


async def asked(url: str, path: str, **body: Any) -> dict[str, Any]:
    """Its answer to a request."""
    async with aiohttp.ClientSession() as session, session.post(f"{url}{path}", json=body) as reply:
        answer: dict[str, Any] = await reply.json()
        return answer


def turns(*contents: str) -> list[dict[str, str]]:
    """A conversation of these turns."""
    return [{"role": ("user", "assistant")[place % 2], "content": content} for place, content in enumerate(contents)]


async def test_it_goes_on_from_token_ids() -> None:
    async with Upstream(0) as upstream:
        play = upstream.put_on("test/ids", words("a b c d"), words("a b c d"))
        request = {"model": LARGE, "messages": turns(play.marker), "return_token_ids": True}
        whole = await asked(upstream.url, "/v1/chat/completions", **request)
        begun = [*whole["prompt_token_ids"], *whole["choices"][0]["token_ids"][:2]]
        rest = await asked(
            upstream.url, "/v1/chat/completions", **request, kv_transfer_params={"prompt_token_ids": begun}
        )

    assert rest["choices"][0]["message"]["content"] == " c d"
    assert rest["prompt_token_ids"] == begun


async def test_it_goes_on_from_text() -> None:
    async with Upstream(0) as upstream:
        play = upstream.put_on("test/text", words("a b c d"), words("a b c d"))
        rest = await asked(
            upstream.url,
            "/v1/chat/completions",
            model=LARGE,
            messages=turns(play.marker, "a b"),
            continue_final_message=True,
        )

    assert rest["choices"][0]["message"]["content"] == " c d"


async def test_its_token_ids_are_text_again() -> None:
    async with Upstream(0) as upstream:
        play = upstream.put_on("test/tokens", words("a b c"), words("a b c"))
        request = {"model": LARGE, "messages": turns(play.marker), "return_token_ids": True}
        whole = await asked(upstream.url, "/v1/chat/completions", **request)
        answered = whole["choices"][0]["token_ids"]
        cut = await asked(upstream.url, "/tokenize", model=LARGE, prompt="a b c")
        text = await asked(upstream.url, "/detokenize", model=LARGE, tokens=answered)

    assert cut["tokens"] == answered
    assert text["prompt"] == "a b c"
