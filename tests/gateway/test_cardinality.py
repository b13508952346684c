"""However odd the requests, the metrics have no series that an operator did not name."""

import secrets

import httpx
from fakes.pools import metrics_of
from fakes.scripted import Script

CHAT = "/v1/chat/completions"


def series_in(exposition: str) -> set[str]:
    """Names with labels."""
    return {line.rpartition(" ")[0] for line in exposition.splitlines() if not line.startswith("#")}


async def of_each_kind(url: str, odd: str) -> None:
    """One request for each way in which a client could bring a label of its own."""
    message = {"role": "user", "content": odd}
    ask = {"model": "auto", "messages": [message]}
    async with httpx.AsyncClient(base_url=url) as client:
        await client.post(CHAT, json=ask, headers={"x-request-id": odd})
        await client.post(CHAT, json={**ask, "smallfirst": {"task": odd}})
        await client.post(CHAT, json={**ask, "smallfirst": {"mode": odd}})
        await client.post(CHAT, json={**ask, "model": odd})
        await client.post(CHAT, json={**ask, odd: odd})
        await client.post(CHAT, json=ask, headers={"content-type": odd})
        await client.post(f"/{odd}", json=ask)
        await client.get(f"/v1/models/{odd}")
        await client.get(f"/v1/decisions/{odd}")
        await client.request(odd.upper(), CHAT)
        await client.post("/v1/embeddings", json={"model": "large", "input": odd})
        await client.post("/v1/feedback", json={"id": odd, "label": "wrong"})


async def test_no_client_makes_a_new_series(gateway) -> None:
    cascade = await gateway(small=Script("maybe", p=0.2), large=Script())
    await of_each_kind(cascade.url, "x" + secrets.token_hex(4))
    before = series_in(await metrics_of(cascade.url))

    for _ in range(20):
        await of_each_kind(cascade.url, "x" + secrets.token_hex(4))

    after = series_in(await metrics_of(cascade.url))
    assert len(before) > 50
    assert after - before == set()
