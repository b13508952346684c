"""Replies have vLLM's shapes."""

import json

import httpx

HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "temperature": 0}


async def events(http: httpx.AsyncClient, path: str, **body: object) -> list[str]:
    reply = await http.post(path, json={**body, "stream": True})
    assert reply.status_code == 200
    return [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]


async def test_a_whole_chat_reply(http, noise) -> None:
    reply = await http.post(
        "/v1/chat/completions",
        json={**HELLO, "model": "tiny", "return_token_ids": True},
        headers={"x-request-id": "abc"},
    )
    body = reply.json()
    prompt = noise.tokenizer.encode("<s><|user|>hello<|assistant|>")

    assert body["id"] == "chatcmpl-abc"
    assert body["object"] == "chat.completion"
    assert body["model"] == "tiny"
    assert body["system_fingerprint"].startswith("smallfirst-engine-")
    assert prompt == body["prompt_token_ids"]
    assert noise.greedy(prompt, 4) == body["choices"][0]["token_ids"]
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["logprobs"] is None
    assert {key: value for key, value in body["usage"].items() if value is not None} == {
        "prompt_tokens": 4,
        "completion_tokens": 4,
        "total_tokens": 8,
    }


async def test_ids_stay_home_unless_asked_for(http) -> None:
    body = (await http.post("/v1/chat/completions", json=HELLO)).json()

    assert body["prompt_token_ids"] is None
    assert body["choices"][0]["token_ids"] is None


async def test_a_chat_stream_opens_with_the_role_and_closes_with_the_usage(http) -> None:
    *chunks, done = await events(
        http,
        "/v1/chat/completions",
        **HELLO,
        return_token_ids=True,
        logprobs=True,
        stream_options={"include_usage": True},
    )
    role, *texts, last, closing = map(json.loads, chunks)

    assert done == "[DONE]"
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(role["prompt_token_ids"]) == 4
    assert len({chunk["id"] for chunk in (role, *texts, last, closing)}) == 1
    assert [chunk["choices"][0]["finish_reason"] for chunk in texts] == [None] * 3
    assert last["choices"][0]["finish_reason"] == "length"
    assert all(len(chunk["choices"][0]["token_ids"]) == 1 for chunk in (*texts, last))
    assert all(len(chunk["choices"][0]["logprobs"]["content"]) == 1 for chunk in (*texts, last))
    assert closing["choices"] == []
    assert closing["usage"]["total_tokens"] == 8
    assert all("usage" not in chunk for chunk in (role, *texts, last))


async def test_a_stream_can_count_as_it_goes(http) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}

    *chunks, _ = await events(http, "/v1/chat/completions", **HELLO, stream_options=options)

    counts = [json.loads(chunk)["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == [0, 1, 2, 3, 4, 4]


async def test_a_stream_has_no_usage_unless_asked(http) -> None:
    *chunks, _ = await events(http, "/v1/chat/completions", **HELLO)

    assert not any("usage" in json.loads(chunk) for chunk in chunks)


async def test_choices_stream_side_by_side(http) -> None:
    body = HELLO | {"n": 3, "temperature": 1, "seed": 5}
    whole = (await http.post("/v1/chat/completions", json=body)).json()

    *chunks, _ = await events(http, "/v1/chat/completions", **body)

    texts = ["", "", ""]
    for chunk in map(json.loads, chunks):
        choice = chunk["choices"][0]
        texts[choice["index"]] += choice["delta"]["content"]
    assert [choice["message"]["content"] for choice in whole["choices"]] == texts


async def test_a_completion_stream_has_no_role_and_brings_the_prompt_once(http) -> None:
    body = {"prompt": "hello", "max_tokens": 3, "temperature": 0, "logprobs": 0}

    *chunks, _ = await events(http, "/v1/completions", **body, return_token_ids=True)
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]

    assert [bool(choice["prompt_token_ids"]) for choice in choices] == [True, False, False]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "length"]
    assert [len(choice["logprobs"]["top_logprobs"]) for choice in choices] == [1, 1, 1]


async def test_the_served_model_is_listed(http, noise) -> None:
    (model,) = (await http.get("/v1/models")).json()["data"]

    assert model["id"] == "tiny"
    assert str(noise.folder) == model["root"]
    assert model["max_model_len"] == 512


async def test_detokenizing_is_the_way_back(http) -> None:
    tokens = (await http.post("/tokenize", json={"prompt": "héllo there"})).json()["tokens"]
    text = await http.post("/detokenize", json={"tokens": tokens})
    strange = await http.post("/detokenize", json={"tokens": [10**9]})

    assert text.json() == {"prompt": "héllo there"}
    assert (strange.status_code, strange.json()["error"]["param"]) == (400, "tokens")


async def test_text_and_conversations_can_be_tokenised(http, noise) -> None:
    text = await http.post("/tokenize", json={"prompt": "hello there", "return_token_strs": True})
    chat = await http.post("/tokenize", json={"messages": HELLO["messages"]})

    ids = noise.tokenizer.encode("hello there")
    strings = noise.tokenizer.convert_ids_to_tokens(ids)
    assert {"count": len(ids), "max_model_len": 512, "tokens": ids, "token_strs": strings} == (text.json())
    assert noise.tokenizer.encode("<s><|user|>hello<|assistant|>") == chat.json()["tokens"]


async def test_parts_of_text_make_a_message(http) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]

    joined = await http.post("/tokenize", json={"messages": [{"role": "user", "content": parts}]})
    plain = await http.post("/tokenize", json={"messages": [{"role": "user", "content": "hel\nlo"}]})

    assert plain.json() == joined.json()


async def test_health_and_metrics_are_served(http) -> None:
    assert (await http.get("/health")).content == b""
    before = counter(await http.get("/metrics"), "vllm:generation_tokens_total")

    await http.post("/v1/chat/completions", json=HELLO)

    after = await http.get("/metrics")
    assert before + 4 == counter(after, "vllm:generation_tokens_total")
    assert counter(after, "vllm:num_requests_running") == 0
    assert counter(after, "vllm:num_requests_waiting") == 0
    assert 'vllm:request_success_total{finished_reason="length",model_name="tiny"}' in after.text


def counter(metrics: httpx.Response, name: str) -> float:
    line = next(line for line in metrics.text.splitlines() if line.startswith(f"{name}{{"))
    return float(line.rpartition(" ")[2])
