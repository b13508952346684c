"""A model server that says what it is told to, in vLLM's shapes: a real HTTP server, without a model."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web

PROMPT_IDS = [5, 6]
PASSED = ("/v1/embeddings", "/v1/rerank")
Trouble = Literal[
    "none",
    "hang",
    "reset",
    "not-json",
    "no-choices",
    "html",
    "wrong-types",
    "cut-stream",
    "error-in-stream",
    "stall",
    "stall-late",
    "silent",
]


@dataclass(frozen=True)
class Script:
    """What it answers: words as tokens, each of probability `p`, or the last ones of `ps` where that is given; or a
    status; or some trouble. With `tool_calls` it calls tools instead, or after it `says_first`; `reasoning` is thought
    before. Asked whether an answer is right it says so with probability `p_true`, in the letters that it is held to;
    `when_asked` is the status of that answer, 0 where it never comes. A `silent` one answers no probe."""

    text: str = "yes"
    p: float = 0.99
    ps: tuple[float, ...] = ()
    reasoning: str = ""
    finish_reason: str = "stop"
    stop_reason: str | None = None
    logprobs: bool = True
    degenerate: bool = False
    usage: bool = True
    status: int = 200
    error: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    trouble: Trouble = "none"
    pause_s: float = 0.0
    tool_calls: list[dict[str, Any]] | None = None
    says_first: bool = False
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    speculation: Literal["none", "drafter", "handover"] = "none"
    first_token_id: int = 100
    context_tokens: int = 4096
    served: str = "scripted"
    waiting: int = 0
    p_true: float | None = None
    when_asked: int = 200

    @property
    def pieces(self) -> list[tuple[dict[str, Any], str]]:
        """What each token adds to the message, and the token's text."""
        thought = [({"reasoning": word}, word) for word in split(self.reasoning)] if self.reasoning else []
        said = [({"content": word}, word) for word in split(self.text)]
        if not self.tool_calls:
            return thought + said
        return (
            thought
            + (said if self.says_first else [])
            + [piece for index, call in enumerate(self.tool_calls) for piece in pieces_of(index, call)]
        )

    @property
    def words(self) -> list[str]:
        """The tokens; of an answer without tool calls or reasoning, joined they are the text again."""
        return [word for _, word in self.pieces]

    @property
    def ending(self) -> str:
        """Why it stopped."""
        return "tool_calls" if self.tool_calls and self.finish_reason == "stop" else self.finish_reason

    def probability(self, place: int) -> float:
        """Of the token at this place."""
        return self.ps[min(place, len(self.ps) - 1)] if self.ps else self.p

    @property
    def token_ids(self) -> list[int]:
        """The words' token ids: they count up."""
        return [self.first_token_id + place for place in range(len(self.words))]

    def verified(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """What verifying the request's draft comes to, as vLLM reports it."""
        draft = (body.get("vllm_xargs") or {}).get("draft_token_ids") or []
        if self.speculation == "drafter":
            draft = self.token_ids
        if self.speculation == "none":
            return None
        kept = sum(drafted == written for drafted, written in zip(draft, self.token_ids, strict=False))
        counted = {"num_draft_tokens": len(draft), "num_accepted_draft_tokens": kept}
        return {"speculative_decoding": {**counted, "num_spec_steps": int(bool(draft)), "num_spec_tokens": 16}}


def split(text: str) -> list[str]:
    """Words; joined they are the text again."""
    return [word if index == 0 else f" {word}" for index, word in enumerate(text.split(" "))]


def pieces_of(index: int, call: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """A tool call as vLLM streams it: its name first, then its arguments a few characters at a time."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    opening = {**call, "index": index, "function": {"name": name, "arguments": ""}}
    parts = [arguments[start : start + 5] for start in range(0, len(arguments), 5)]
    return [
        ({"tool_calls": [opening]}, name),
        *(({"tool_calls": [{"index": index, "function": {"arguments": part}}]}, part) for part in parts),
    ]


class ScriptedServer:
    """Serves a script, on a free port or this one; `seen` holds the bodies it got, `counted` those of conversations
    whose tokens it counted, `left` counts the clients that went before the end, `trials` the probes that asked for an
    answer: they wait until they `may_try`."""

    def __init__(self, script: Script, *, port: int = 0) -> None:
        self.script = script
        self.trials = 0
        self.may_try = asyncio.Event()
        self.may_try.set()
        self._port = port
        self.seen: list[dict[str, Any]] = []
        self.counted: list[dict[str, Any]] = []
        self.left = 0
        self.running = 0
        self.url = ""
        app = web.Application(client_max_size=64 * 2**20, handler_args={"handler_cancellation": True})
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/embeddings", self._chat)
        app.router.add_post("/v1/rerank", self._chat)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """As if the machine went away."""
        await self._runner.cleanup()

    async def _models(self, _request: web.Request) -> web.Response:
        card = {"id": self.script.served, "max_model_len": self.script.context_tokens}
        adapter = {"id": "adapter", "parent": self.script.served}
        return web.json_response({"object": "list", "data": [card, adapter]})

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.0.0"})

    async def _metrics(self, _request: web.Request) -> web.Response:
        labels = '{engine="0",model_name="scripted"}'
        counts = f"vllm:spec_decode_num_draft_tokens_total{labels} 0.0\n"
        return web.Response(
            text=f"# HELP\nvllm:num_requests_running{labels} {float(self.running)}\n"
            f"vllm:num_requests_waiting{labels} {float(self.script.waiting)}\n"
            f"{'' if self.script.speculation == 'none' else counts}"
        )

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "x-request-id" in request.headers:
            (self.counted if "messages" in body else self.seen).append(body)
            await self._hang()
            if self.script.status != 200:
                return web.json_response({"error": {"message": "too odd"}}, status=self.script.status)
        if "messages" in body:
            return web.json_response({"tokens": PROMPT_IDS * len(body["messages"])})
        if not isinstance(body.get("prompt"), str):
            return web.json_response({"error": {"message": "prompt: field required"}}, status=400)
        words = body["prompt"].split(" ")
        return web.json_response({"tokens": [self.script.first_token_id + place for place in range(len(words))]})

    async def _hang(self) -> None:
        if self.script.trouble == "hang":
            self.running += 1
            try:
                await asyncio.sleep(3600)
            finally:
                self.running -= 1

    async def _detokenize(self, request: web.Request) -> web.Response:
        words = dict(zip(self.script.token_ids, self.script.words, strict=True))
        tokens = (await request.json())["tokens"]
        return web.json_response({"prompt": "".join(words.get(token, "?") for token in tokens)})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        if "x-request-id" in request.headers:
            return await self._chat(request)
        self.trials += 1  # a probe: it asks in nobody's name
        await self.may_try.wait()
        if self.script.trouble == "silent":
            return web.json_response({"error": {"message": "no room"}}, status=503)
        metrics = self.script.verified(await request.json())
        choice = {"index": 0, "text": self.script.text, "logprobs": {}, "token_ids": self.script.token_ids}
        return web.json_response({"choices": [choice], "metrics": metrics})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append(body)
        self.running += 1
        try:
            if self.script.handler is not None:
                return await self.script.handler(request)
            asked = is_question(body) and (self.script.p_true is not None or self.script.when_asked != 200)
            return await (self._opinion(body) if asked else self.answer(request, body))
        except (asyncio.CancelledError, ConnectionResetError):
            self.left += 1
            raise
        finally:
            self.running -= 1

    async def answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        """The script, as the answer to this request."""
        script = self.script
        if script.trouble == "hang":
            await asyncio.sleep(3600)
        if script.trouble == "reset":
            assert request.transport is not None
            request.transport.abort()
        if script.status != 200:
            error = script.error or {
                "error": {"message": "scripted", "type": "T", "param": None, "code": script.status}
            }
            return web.json_response(error, status=script.status, headers=script.headers)
        if script.trouble == "html":
            return web.Response(text="<html>bad gateway</html>", content_type="text/html")
        if script.trouble == "not-json":
            return web.Response(text="{", content_type="application/json")
        if script.trouble == "no-choices":
            return web.json_response({"choices": []})
        if script.trouble == "wrong-types":
            return web.json_response({"choices": [{"message": {"content": 7}, "logprobs": {"content": "no"}}]})
        if body.get("stream"):
            return await (self._stream(request, body) if "messages" in body else self._stream_text(request, body))
        if script.pause_s:
            await asyncio.sleep(script.pause_s)
        return web.json_response(self._whole(request.path, body))

    async def _opinion(self, body: dict[str, Any]) -> web.Response:
        if self.script.when_asked == 0:
            await asyncio.sleep(3600)
        if self.script.when_asked == 200:
            return web.json_response(lettered(self.script.p_true or 0.0, body))
        error = {"error": {"message": "too long", "type": "T", "param": "input_tokens", "code": self.script.when_asked}}
        return web.json_response(error, status=self.script.when_asked)

    def _whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path in PASSED:
            reply = {"object": "list", "data": [{"embedding": [0.1, -2.5e-8]}], "usage": {"total_tokens": 7}}
            return {"id": "theirs", "model": "scripted", **reply}
        return self._reply(body) if "messages" in body else self._text_reply(body)

    def _reply(self, body: dict[str, Any]) -> dict[str, Any]:
        script = self.script
        message: dict[str, Any] = {"role": "assistant", "content": script.text, "vllm_extra": "kept"}
        if script.reasoning:
            message |= {"reasoning": script.reasoning}
        if script.tool_calls:
            message |= {"content": None, "tool_calls": script.tool_calls}
        choices = [
            {"index": index, "message": message, "finish_reason": script.ending, "stop_reason": script.stop_reason,
             "logprobs": self._logprobs(script.words, 0, body), "token_ids": script.token_ids}
            for index in range(body.get("n") or 1)
        ]  # fmt: skip
        usage = {"usage": self._usage(body)} if script.usage else {}
        return {"id": "theirs", "object": "chat.completion", "created": 1, "model": "scripted", "choices": choices,
                "prompt_token_ids": PROMPT_IDS, "system_fingerprint": "fp", "metrics": script.verified(body),
                **usage}  # fmt: skip

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        script = self.script
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        prompt_ids = (body.get("kv_transfer_params") or {}).get("prompt_token_ids") or PROMPT_IDS
        opening = {"prompt_token_ids": prompt_ids} if body.get("return_token_ids") else {}
        await self._send(response, {"role": "assistant", "content": ""}, body, None, None, **opening)
        pieces = script.pieces
        for place, (delta, word) in enumerate(pieces):
            if place < already_written(body):
                continue
            last = place == len(pieces) - 1
            if await self._troubled(response, place, last=last):
                return response
            finish_reason = script.ending if last else None
            counting = (body.get("stream_options") or {}).get("continuous_usage_stats")
            written = {"prompt_tokens": 10, "completion_tokens": place + 1 - already_written(body)}
            usage = {"usage": written} if counting else {}
            logprobs = self._logprobs([word], place, body)
            await self._send(response, delta, body, logprobs, finish_reason, token_id=script.token_ids[place], **usage)
        if script.usage and (body.get("stream_options") or {}).get("include_usage"):
            await self._event(response, {"choices": [], "usage": self._usage(body), "metrics": script.verified(body)})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _send(
        self, response: web.StreamResponse, delta: dict[str, Any], body: dict[str, Any],
        logprobs: dict[str, Any] | None, finish_reason: str | None, *, token_id: int | None = None, **top: Any,
    ) -> None:  # fmt: skip
        choice = {"delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        if finish_reason:
            choice["stop_reason"] = self.script.stop_reason
        if body.get("return_token_ids"):
            choice["token_ids"] = [] if token_id is None else [token_id]
        for index in range(body.get("n") or 1):
            await self._event(response, {"choices": [{"index": index, **choice}], **top})

    async def _event(self, response: web.StreamResponse, part: dict[str, Any]) -> None:
        chunk = {"id": "theirs", "object": "chat.completion.chunk", "created": 1, "model": "scripted", **part}
        await response.write(b": keep-alive\r\n\r\ndata: " + json.dumps(chunk).encode() + b"\n\n")

    def _text_reply(self, body: dict[str, Any]) -> dict[str, Any]:
        choices = [self._text(index, prompt, 0, body) for index, prompt in enumerate(prompts_of(body))]
        usage = {"usage": self._text_usage(body)} if self.script.usage else {}
        return {"id": "theirs", "object": "text_completion", "created": 1, "model": "scripted", "choices": choices,
                "system_fingerprint": "fp", "metrics": self.script.verified(body), **usage}  # fmt: skip

    def _text(self, index: int, prompt: Any, first: int, body: dict[str, Any], last: int | None = None) -> Any:
        """A choice, or of a stream its words from `first` up to `last`, as vLLM words it."""
        script = self.script
        words, ids = script.words[first:last], script.token_ids[first:last]
        echoed = split(prompt) if body.get("echo") and first == 0 else []
        ended = last is None or last == len(script.words)
        identified = bool(body.get("return_token_ids"))
        return {
            "index": index, "text": "".join([*echoed, *words]), "finish_reason": script.ending if ended else None,
            "logprobs": self._text_logprobs(echoed, words, first, body), "stop_reason": None, "vllm_extra": "kept",
            "token_ids": ids if identified else None, "prompt_token_ids": PROMPT_IDS if identified else None,
        }  # fmt: skip

    def _text_logprobs(self, echoed: list[str], words: list[str], first: int, body: dict[str, Any]) -> Any:
        wanted = body.get("logprobs")
        if wanted is None or not self.script.logprobs:
            return None
        by_id = body.get("return_tokens_as_token_ids")
        names = [f"token_id:{100 + first + place}" if by_id else word for place, word in enumerate(words)]
        tokens = [self._token(name, first + place, wanted + 1) for place, name in enumerate(names)]
        alternatives = [
            {token["token"]: token["logprob"], **{one["token"]: one["logprob"] for one in token["top_logprobs"][1:]}}
            for token in tokens
        ]
        return {
            "tokens": [*echoed, *names],
            "token_logprobs": [*[None] * len(echoed), *(token["logprob"] for token in tokens)],
            "top_logprobs": [*[None] * len(echoed), *alternatives],
            "text_offset": [0] * len([*echoed, *names]),
        }

    async def _troubled(self, response: web.StreamResponse, place: int, *, last: bool) -> bool:
        """Hesitate before the token at this place, or have the trouble that comes there; whether the stream ends."""
        trouble = self.script.trouble
        if (trouble, place) in (("stall", 1), ("stall-late", 6)):
            await asyncio.sleep(3600)
        if trouble == "error-in-stream" and last:
            await response.write(b'data: {"error": {"message": "the engine died"}}\n\n')
        if trouble in ("cut-stream", "error-in-stream") and last:
            return True
        await asyncio.sleep(self.script.pause_s)
        return False

    async def _stream_text(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        script = self.script
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for place in range(len(script.words)):
            last = place == len(script.words) - 1
            if await self._troubled(response, place, last=last):
                return response
            for index, prompt in enumerate(prompts_of(body)):
                choice = self._text(index, prompt, place, body, place + 1)
                await self._event(response, {"object": "text_completion", "choices": [choice]})
        if script.usage and (body.get("stream_options") or {}).get("include_usage"):
            usage = {"usage": self._text_usage(body), "metrics": script.verified(body)}
            await self._event(response, {"object": "text_completion", "choices": [], **usage})
        await response.write(b"data: [DONE]\n\n")
        return response

    def _text_usage(self, body: dict[str, Any]) -> dict[str, Any]:
        completion = len(self.script.words) * len(prompts_of(body))
        return {"prompt_tokens": 10, "completion_tokens": completion, "total_tokens": 10 + completion}

    def _logprobs(self, words: list[str], first: int, body: dict[str, Any]) -> dict[str, Any] | None:
        if not (self.script.logprobs and body.get("logprobs")):
            return None
        wanted = body.get("top_logprobs") or 0
        return {"content": [self._token(word, first + place, wanted) for place, word in enumerate(words)]}

    def _token(self, word: str, place: int, wanted: int) -> dict[str, Any]:
        p = self.script.probability(place)
        logprob = 0.0 if self.script.degenerate else math.log(p)
        others = [logprob, math.log(max(1e-9, 1 - p) / 2), -9999.0, -9999.0, -9999.0][:wanted]
        alternatives = [{"token": f"t{rank}", "logprob": other, "bytes": []} for rank, other in enumerate(others)]
        return {"token": word, "logprob": logprob, "bytes": list(word.encode()), "top_logprobs": alternatives}

    def _usage(self, body: dict[str, Any]) -> dict[str, Any]:
        completion = len(self.script.words) * (body.get("n") or 1) - already_written(body)
        return {"prompt_tokens": 10, "completion_tokens": completion, "total_tokens": 10 + completion,
                "prompt_tokens_details": {"cached_tokens": 3}}  # fmt: skip


def is_question(body: dict[str, Any]) -> bool:
    """Whether a request is for one of two letters."""
    return bool((body.get("structured_outputs") or {}).get("choice")) and body.get("max_tokens") == 1


def lettered(p: float, body: dict[str, Any]) -> dict[str, Any]:
    """One letter as vLLM answers, held to a choice: the sampled one first among the likeliest, and of all others
    nothing; `p` is that of the first letter."""
    right, wrong = body["structured_outputs"]["choice"]
    ranked = sorted([(p, right), (1 - p, wrong)])[::-1]
    tokens = [{"token": text, "logprob": math.log(max(share, 1e-300)), "bytes": []} for share, text in ranked]
    tokens += [{"token": f"t{rank}", "logprob": -9999.0, "bytes": []} for rank in range(3)]
    letter = ranked[0][1]
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    reply = {"id": "theirs", "created": 1, "model": "scripted", "usage": usage}
    if "messages" not in body:
        beside = {token["token"]: token["logprob"] for token in tokens}
        logprobs: dict[str, Any] = {"tokens": [letter], "token_logprobs": [tokens[0]["logprob"]],
                                    "top_logprobs": [beside], "text_offset": [0]}  # fmt: skip
        choice = {"index": 0, "text": letter, "logprobs": logprobs, "finish_reason": "length"}
        return {**reply, "object": "text_completion", "choices": [choice]}
    logprobs = {"content": [{**tokens[0], "top_logprobs": tokens[: body["top_logprobs"]]}]}
    message = {"role": "assistant", "content": letter}
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "length"}
    return {**reply, "object": "chat.completion", "choices": [choice]}


def prompts_of(body: dict[str, Any]) -> list[Any]:
    """The prompt of each choice of a text completion."""
    given = body["prompt"]
    several = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    return [prompt for prompt in several for _ in range(body.get("n") or 1)]


def already_written(body: dict[str, Any]) -> int:
    """How many words the request holds already, as token ids after the prompt's, or as text to go on with."""
    if body.get("continue_final_message"):
        return len(body["messages"][-1]["content"].split(" "))
    ids = (body.get("kv_transfer_params") or {}).get("prompt_token_ids")
    return len(ids) - len(PROMPT_IDS) if ids else 0
