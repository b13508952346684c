"""What a client that asks a gateway gets to see beside the answer."""

from typing import Any


async def headers_of(cascade: Any, asked: str, **controls: object) -> dict[str, str]:
    """What our headers say of the answer to a question, under these controls."""
    raw = await cascade.client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": asked}],
        extra_body={"smallfirst": controls} if controls else None,
    )  # fmt: skip
    return {name.removeprefix("x-smallfirst-"): value for name, value in raw.headers.items()}
