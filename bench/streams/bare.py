"""What the gateway's streams are compared with: a route of FastAPI that asks by aiohttp. `large` is passed on as it
comes; of `small` each event is parsed, scored and rewritten.

    python bench/streams/bare.py PORT UPSTREAM_PORT

No keys, limits, metrics or log, no gate, and no care for what goes wrong.
"""

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

DONE = b"[DONE]"


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
async def chat(request: Request) -> StreamingResponse:
    asked = orjson.loads(await request.body())
    written = passed if asked["model"] == "large" else rewritten
    events = written(request.app.state.session, {**asked, "stream_options": {"include_usage": True}})
    return StreamingResponse(events, media_type="text/event-stream")


async def passed(session: aiohttp.ClientSession, asked: dict[str, object]) -> AsyncIterator[bytes]:
    async with session.post(UPSTREAM, data=orjson.dumps(asked), headers=HEADERS) as reply:
        reply.raise_for_status()
        async for part in reply.content.iter_any():
            yield part


async def rewritten(session: aiohttp.ClientSession, asked: dict[str, object]) -> AsyncIterator[bytes]:
    name, total, tokens = f"chatcmpl-{uuid.uuid4().hex}", 0.0, 0
    async with session.post(UPSTREAM, data=orjson.dumps({**asked, "logprobs": True}), headers=HEADERS) as reply:
        reply.raise_for_status()
        async for line in reply.content:
            if not line.startswith(b"data: "):
                continue
            event = line[6:].strip()
            if event == DONE:
                yield b"data: [DONE]\n\n"
                break
            chunk = orjson.loads(event)
            chunk["id"] = name
            for choice in chunk["choices"]:
                for token in (choice["logprobs"] or {}).get("content") or ():
                    total, tokens = total + token["logprob"], tokens + 1
                choice["logprobs"] = None
            yield b"data: " + orjson.dumps(chunk) + b"\n\n"


if __name__ == "__main__":
    UPSTREAM = f"http://127.0.0.1:{sys.argv[2]}/v1/chat/completions"
    HEADERS = {"content-type": "application/json"}
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
