"""A gateway whose requests are traced, and questions to it."""

from collections.abc import Mapping

import httpx

from server.settings.schema import Settings

QUESTION = "a question that nobody else may read"


async def asked(url: str, *, model: str = "auto", path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    """The answer to the question, as a conversation or a text to complete."""
    asks = {"messages": [{"role": "user", "content": QUESTION}]} if "chat" in path else {"prompt": QUESTION}
    return await posted(url, path, {"model": model, **asks}, **headers)


async def posted(url: str, path: str, body: Mapping[str, object], **headers: str) -> httpx.Response:
    """What the gateway says to it."""
    async with httpx.AsyncClient() as client:
        return await client.post(f"{url}{path}", json=body, headers=headers)


def settings_of(
    small: str, large: str, otlp: str | None, *, helper: str | None = None, cascade: Mapping[str, object] | None = None,
    more: Mapping[str, object] | None = None, **tracing: object,
) -> Settings:  # fmt: skip
    """The cascade `auto` over `small` and `large`, traced."""
    helping = {"model": "helping", "price": {"input": 1.0, "output": 2.0}, "urls": [helper]}
    return Settings.model_validate({
        "tiers": {
            "small": {"model": "scripted", "price": {"input": 1.0, "output": 2.0}, "urls": [small]},
            "large": {"model": "scripted", "price": {"input": 10.0, "output": 20.0}, "urls": [large]},
            **({} if helper is None else {"helper": helping}),
        },
        "cascades": {"auto": {"tiers": ["small", "large"], "threshold": 0.5, **(cascade or {})}},
        "store": {"url": "none"},
        "tracing": {"otlp": otlp, **tracing},
        **(more or {}),
    })  # fmt: skip
