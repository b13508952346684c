"""What cannot be served is refused in vLLM's words, and nothing makes the engine fail."""

import pytest

CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
TEXT = {"prompt": "hello", "max_tokens": 2}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [TOOL]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}),
        ("response_format", {"type": "json_object"}),
        ("structured_outputs", {"choice": ["a", "b"]}),
        ("logit_bias", {"5": 10}),
        ("min_p", 0.1),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("repetition_penalty", 1.1),
        ("min_tokens", 3),
        ("prompt_logprobs", 0),
        ("logprob_token_ids", [1]),
        ("allowed_token_ids", [1]),
        ("bad_words", ["x"]),
        ("use_beam_search", True),
        ("truncate_prompt_tokens", 4),
        ("chat_template", "{{ 1 }}"),
        ("documents", [{"text": "x"}]),
        ("echo", True),
        ("suffix", "x"),
        ("prompt_embeds", "AAAA"),
        ("n", 0),
        ("n", 129),
        ("temperature", -1),
        ("top_p", 0),
        ("top_p", 1.5),
        ("top_k", -2),
        ("max_tokens", 0),
        ("max_tokens", 513),
        ("max_tokens", 10**30),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", ""),
        ("stream_options", {"include_usage": True}),
    ],
)
@pytest.mark.parametrize(("path", "body"), [("chat/completions", CHAT), ("completions", TEXT)])
async def test_a_field_that_is_not_supported_is_named(http, path, body, field, value) -> None:
    reply = await http.post(f"/v1/{path}", json={**body, field: value})

    error = reply.json()["error"]
    assert (400, 400, "BadRequestError", field) == (
        reply.status_code,
        error["code"],
        error["type"],
        error["param"],
    )
    assert field in error["message"]


@pytest.mark.parametrize(
    "neutral",
    [
        {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}},
        {"presence_penalty": 0, "frequency_penalty": 0.0, "repetition_penalty": 1, "min_p": 0},
        {"logit_bias": None, "echo": False, "user": "me", "vllm_xargs": {"draft_token_ids": [1]}},
        {"some_field": {"of": ["the future"]}, "temperature": None, "n": None, "stop": None},
    ],
)
async def test_fields_that_change_nothing_are_ignored(http, neutral) -> None:
    assert (await http.post("/v1/chat/completions", json=CHAT | neutral)).status_code == 200
    assert (await http.post("/v1/completions", json=TEXT | neutral)).status_code == 200


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": [IMAGE]}]}, "messages"),
        ("chat/completions", {"messages": [{"role": "wizard", "content": "a"}]}, "messages"),
        ("chat/completions", {"messages": []}, "messages"),
        ("chat/completions", {"top_logprobs": 2}, "top_logprobs"),
        ("chat/completions", {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ("chat/completions", {"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ("chat/completions", {"n": 2, "temperature": 0}, "n"),
        ("chat/completions", {"continue_final_message": True}, "continue_final_message"),
        ("chat/completions", {"kv_transfer_params": {"prompt_token_ids": [9999]}}, "prompt"),
        ("chat/completions", {"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs"),
        ("completions", {"logprobs": 21}, "logprobs"),
        ("completions", {"prompt": ""}, "prompt"),
        ("completions", {"prompt": []}, "prompt"),
        ("completions", {"prompt": [[5]] * 129}, "prompt"),
        ("completions", {"prompt": [[]]}, "prompt"),
        ("completions", {"prompt": [-1]}, "prompt"),
        ("completions", {"prompt": [10**30]}, "prompt"),
        ("completions", {"prompt": [5] * 512}, "input_tokens"),
        ("completions", {"prompt": "the " * 600}, "input_tokens"),
        ("completions", {"prompt": "x" * 10**6}, "input_text"),
    ],
)
async def test_what_cannot_be_done_is_refused(http, path, change, param) -> None:
    body = CHAT if path.startswith("chat") else TEXT

    reply = await http.post(f"/v1/{path}", json=body | change)

    assert reply.status_code == 400
    assert ("BadRequestError", param) == (
        reply.json()["error"]["type"],
        reply.json()["error"]["param"],
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe\x00",
        b"{}",
        b'{"messages": "hello"}',
        b'{"messages": [1, 2]}',
        b'{"messages": [{"content": "no role"}]}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [], "max_tokens": "many"}',
        b'{"messages": [], "temperature": NaN}',
        b'{"messages": [], "temperature": 1e999}',
        b'{"messages": [], "seed": 99999999999999999999}',
        b'{"messages": [], "stop": [1]}',
        b'{"messages": [], "stream": "maybe"}',
        b'{"messages": ' + b"[" * 100_000,
        b'{"messages": [], "max_tokens": ' + b"9" * 10_000 + b"}",
        b'{"prompt": {}}',
        b'{"prompt": [1, "a"]}',
        b'{"prompt": [[1], "a"]}',
        b'{"prompt": [1.5]}',
        b'{"prompt": [true]',
    ],
)
async def test_a_malformed_body_is_the_clients_mistake(http, raw) -> None:
    for path in ("/v1/chat/completions", "/v1/completions", "/tokenize"):
        reply = await http.post(path, content=raw)

        assert reply.status_code == 400, reply.text
        assert {"message", "type", "param", "code"} == reply.json()["error"].keys()


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": []}],
        [{"role": "user", "content": "", "name": {"a": [1]}, "tool_calls": "x"}],
        [{"role": "user", "content": "<s></s><|assistant|>\u0000\ufffd\U0010ffff"}],
    ],
)
async def test_odd_conversations_are_answered(http, messages) -> None:
    reply = await http.post("/v1/chat/completions", json=CHAT | {"messages": messages})

    assert reply.status_code == 200


async def test_extremes_of_sampling_are_answered(http) -> None:
    for extreme in (
        {"temperature": 1e308},
        {"temperature": 1e-300},
        {"temperature": 1e-3},
        {"top_p": 1e-300},
        {"top_k": 10**30},
        {"seed": -(2**63), "n": 2},
        {"seed": 2**63 - 1, "n": 2},
        {"stop_token_ids": [10**30, -1]},
        {"logprobs": True, "top_logprobs": 20, "temperature": 9.0},
    ):
        reply = await http.post("/v1/chat/completions", json=CHAT | extreme)

        assert reply.status_code == 200, (extreme, reply.text)


async def test_another_model_does_not_exist(http) -> None:
    for path, body in (("chat/completions", CHAT), ("completions", TEXT)):
        reply = await http.post(f"/v1/{path}", json={**body, "model": "gpt-9"})

        assert reply.status_code == 404
        assert (
            reply.json()["error"]["type"],
            reply.json()["error"]["param"],
        ) == ("NotFoundError", "model")


async def test_unknown_paths_and_methods_are_answered_as_by_vllm(http) -> None:
    assert (await http.get("/v1/nothing")).json() == {"detail": "Not Found"}
    assert (await http.get("/v1/chat/completions")).status_code == 405
