"""Two static models in vLLM's shape on one port: `small`, whose draft is as sure as the prompt wants, and `large`."""

import asyncio
import sys

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

TOKENS = {"small": 100, "large": 300}
SURE, UNSURE = -0.01, -2.0
UNSURE_PROMPT = b"unsure"


def written(model: str, logprob: float) -> list[dict[str, object]]:
    """The answer's tokens with their log-probabilities; none comes twice, which would look like a loop."""
    words = [f" word{place}" for place in range(TOKENS[model])]
    return [{"token": word, "logprob": logprob, "bytes": None, "top_logprobs": []} for word in words]


def usage(model: str) -> dict[str, int]:
    """What the answer came to."""
    return {"prompt_tokens": 200, "completion_tokens": TOKENS[model], "total_tokens": 200 + TOKENS[model]}


def reply(model: str, logprob: float) -> bytes:
    """A whole answer with the log-probabilities that a draft is asked for."""
    tokens = written(model, logprob)
    message = {"role": "assistant", "content": "".join(str(token["token"]) for token in tokens)}
    choice = {"index": 0, "message": message, "logprobs": {"content": tokens}, "finish_reason": "stop"}
    body = {"id": "chatcmpl-0", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return orjson.dumps({**body, "usage": usage(model)})


def chunks(model: str) -> list[bytes]:
    """The same as a stream, a chunk for each token; only a draft is asked for log-probabilities."""
    base = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1, "model": model}
    parts = [
        {"index": 0, "delta": {"content": token["token"]}, "finish_reason": None,
         "logprobs": {"content": [token]} if model == "small" else None}
        for token in written(model, SURE)
    ]  # fmt: skip
    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    said = [{**base, "choices": [part]} for part in [*parts, end]] + [{**base, "choices": [], "usage": usage(model)}]
    return [b"data: " + orjson.dumps(part) + b"\n\n" for part in said] + [b"data: [DONE]\n\n"]


REPLIES = {(model, logprob): reply(model, logprob) for model in TOKENS for logprob in (SURE, UNSURE)}
STREAMS = {model: chunks(model) for model in TOKENS}


async def chat(request: Request) -> Response:
    """One answer."""
    received = await request.body()
    asked = orjson.loads(received)
    if asked.get("stream"):
        return StreamingResponse(slowly(STREAMS[asked["model"]]), media_type="text/event-stream")
    logprob = UNSURE if UNSURE_PROMPT in received else SURE
    return Response(REPLIES[asked["model"], logprob], media_type="application/json")


async def slowly(parts: list[bytes]):
    """One by one, as a model writes."""
    for part in parts:
        yield part
        await asyncio.sleep(0)


async def models(_: Request) -> Response:
    """The list that the gateway asks for."""
    cards = [{"id": model, "object": "model", "max_model_len": 8192} for model in TOKENS]
    return Response(orjson.dumps({"object": "list", "data": cards}), media_type="application/json")


def app() -> Starlette:
    """Chat and the list of models; nothing else that vLLM has."""
    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"]), Route("/v1/models", models)])


if __name__ == "__main__":
    uvicorn.run(app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
