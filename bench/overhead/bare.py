"""What the gateway is compared with: a route of FastAPI that asks by aiohttp, parses the reply, scores and rewrites it.

    python bench/overhead/bare.py PORT UPSTREAM_PORT

No keys, limits, metrics or log; the wrong request is a 500.
"""

import math
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

THRESHOLD = 0.5
CASCADE = ("small", "large")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        app.state.session = session
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    asked = orjson.loads(await request.body())
    name = asked["model"]
    for model in CASCADE if name == "auto" else (name,):
        draft = model != CASCADE[-1]
        reply = await answered(request, {**asked, "model": model, **({"logprobs": True} if draft else {})})
        confidence = scored(reply)
        if confidence is None or confidence >= THRESHOLD:
            break
    reply["id"], reply["model"] = f"chatcmpl-{uuid.uuid4().hex}", name
    for choice in reply["choices"]:
        choice["logprobs"] = None
    headers = {"x-tier": model, "x-confidence": "" if confidence is None else f"{confidence:.6f}"}
    return Response(orjson.dumps(reply), media_type="application/json", headers=headers)


async def answered(request: Request, fields: dict[str, object]) -> dict[str, object]:
    session: aiohttp.ClientSession = request.app.state.session
    headers = {"content-type": "application/json"}
    async with session.post(f"{UPSTREAM}/v1/chat/completions", data=orjson.dumps(fields), headers=headers) as reply:
        reply.raise_for_status()
        return orjson.loads(await reply.read())


def scored(reply: dict[str, object]) -> float | None:
    """The geometric mean of the tokens' probabilities."""
    logprobs = reply["choices"][0]["logprobs"]
    if logprobs is None:
        return None
    tokens = [token["logprob"] for token in logprobs["content"]]
    return math.exp(sum(tokens) / len(tokens))


if __name__ == "__main__":
    UPSTREAM = f"http://127.0.0.1:{sys.argv[2]}"
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
