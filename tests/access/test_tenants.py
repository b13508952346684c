"""What reaches engines that several callers share: nobody's prefix cache but one's own, nobody else's place in the
queue, no template, no file."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fakes.keys import issued
from fakes.scripted import Script
from fakes.waiting import until

ASK: dict[str, Any] = {"model": "small", "messages": [{"role": "user", "content": "is it?"}]}
KEYS = {"auth": "keys", "admin": {"port": 0}}


async def status_of(url: str, body: dict[str, Any], key: str = "none", path: str = "/v1/chat/completions"):
    """Status and body."""
    headers = {"authorization": f"Bearer {key}"}
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.post(url + path, json=body, headers=headers) as reply,
    ):
        return reply.status, await reply.json(content_type=None)


@pytest.fixture
async def two(gateway, tmp_path: Path):
    """A gateway, and two keys to it."""
    keys = [await issued(tmp_path) for _ in range(2)]
    return await gateway(small=Script("yes"), large=Script("no"), server=KEYS, store={"folder": str(tmp_path)}), *keys


async def test_each_key_has_a_prefix_cache_of_its_own(two) -> None:
    cascade, first, second = two

    for key in (first, first, second):
        await status_of(cascade.url, ASK, key)

    salts = [body["cache_salt"] for body in cascade.small.seen]
    assert salts[0] == salts[1] != salts[2]
    assert all(20 < len(salt) <= 128 and not set(salt) & set("@/\\\0") for salt in salts)
    assert not any(salt in key or key[12:] in salt for salt in salts for key in (first, second))


async def test_a_salt_of_a_clients_own_divides_what_is_its_own_alone(two) -> None:
    cascade, first, second = two
    await status_of(cascade.url, ASK, second)
    theirs = cascade.small.seen[0]["cache_salt"]

    for key, own in ((first, "a"), (first, "a"), (first, "b"), (second, "a"), (first, theirs), (first, ["odd"])):
        await status_of(cascade.url, {**ASK, "cache_salt": own}, key)

    a, again, b, others, guessed, odd = [body["cache_salt"] for body in cascade.small.seen[1:]]
    assert a == again
    assert len({a, b, others, guessed, odd, theirs}) == 6


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", ASK),
        ("/v1/completions", {"model": "small", "prompt": "x"}),
        ("/v1/responses", {"model": "small", "input": "x"}),
        ("/v1/messages", {**ASK, "max_tokens": 5}),
        ("/tokenize", {"model": "small", "prompt": "x"}),
    ],
)
async def test_no_door_lets_a_client_reach_across_tenants(two, path: str, body: dict[str, Any]) -> None:
    cascade, first, _ = two
    reaching = {"priority": -5, "request_id": "others", "session_id": "others", "vllm_xargs": {"draft_token_ids": [1]},
                "kv_transfer_params": {"prompt_token_ids": [1]}, "cache_salt": "others"}  # fmt: skip

    status, _ = await status_of(cascade.url, {**body, **reaching}, first, path)

    assert status == 200
    (seen,) = cascade.small.seen
    assert not {*reaching} - {"cache_salt"} & {*seen}
    assert seen["cache_salt"] != "others"


async def test_what_models_are_asked_about_a_draft_is_the_tenants_too(gateway, tmp_path: Path) -> None:
    key = await issued(tmp_path)
    both = {"p-true": {"tier": "large"}, "agreement": {"tier": "helper", "grader": "numeric"}}
    cascade = await gateway(
        small=Script("it is 42", p=0.9), large=Script("42", p_true=0.9), helper=Script("42"), opinions=both,
        scorer="p-true", audits={"rate": 1.0, "spend_per_day": 1.0}, server=KEYS, store={"folder": str(tmp_path)},
    )  # fmt: skip

    await status_of(cascade.url, {**ASK, "model": "auto"}, key)
    await until(lambda: len(cascade.large.seen) == 2)

    salts = {body["cache_salt"] for server in (cascade.small, cascade.large) for body in server.seen}
    assert len(salts) == 1


async def test_who_has_the_engines_alone_is_not_interfered_with(gateway) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))
    own = {"priority": -5, "cache_salt": "mine", "mm_processor_kwargs": {"num_crops": 4}}

    assert (await status_of(cascade.url, {**ASK, **own}))[0] == 200

    assert {name: cascade.small.seen[0].get(name) for name in own} == own


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"chat_template": "{{ x }}"}, "chat_template"),
        ({"chat_template_kwargs": {"chat_template": "{{ x }}"}}, "chat_template_kwargs.chat_template"),
        ({"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs.tokenize"),
        ({"mm_processor_kwargs": {"max_pixels": 10**9}}, "mm_processor_kwargs"),
        ({"media_io_kwargs": {"video": {"num_frames": 10**9}}}, "media_io_kwargs"),
    ],
)
async def test_what_would_run_otherwise_on_a_server_is_refused_by_name(two, change: dict, param: str) -> None:
    cascade, first, _ = two

    for path in ("/v1/chat/completions", "/tokenize"):
        status, refused = await status_of(cascade.url, {**ASK, **change}, first, path)
        assert (status, refused["error"]["param"]) == (400, param)
    assert cascade.small.seen == cascade.small.counted == []


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "FILE:///etc/passwd", "file:/etc/passwd", " file:///etc/passwd", "/etc/passwd", "ftp://x/y",
     "\tfile:///x", "http", "", "javascript:x", "://x"],
)  # fmt: skip
async def test_media_are_never_a_servers_files(gateway, url: str) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))
    parts = [
        {"type": "image_url", "image_url": {"url": url}}, {"type": "image_url", "image_url": url},
        {"type": "x", "image_url": url},
        {"type": "video_url", "video_url": {"url": url}}, {"type": "audio_url", "audio_url": {"url": url}},
    ]  # fmt: skip

    for part in parts:
        status, _ = await status_of(cascade.url, {**ASK, "messages": [{"role": "user", "content": [part]}]})
        assert status == 400
    block = {"type": "image", "source": {"type": "url", "url": url}}
    said = {"model": "small", "max_tokens": 5, "messages": [{"role": "user", "content": [block]}]}
    assert (await status_of(cascade.url, said, path="/v1/messages"))[0] == 400
    item = {"role": "user", "content": [{"type": "input_image", "image_url": url}]}
    assert (await status_of(cascade.url, {"model": "small", "input": [item]}, path="/v1/responses"))[0] == 400
    assert cascade.small.seen == []


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/rerank", lambda media: {"query": "x", "documents": {"content": [media]}}),
        ("/v1/rerank", lambda media: {"query": {"content": [media]}, "documents": ["x"]}),
        ("/v1/score", lambda media: {"data_1": "x", "data_2": ["y", {"content": [media]}]}),
        ("/v1/embeddings", lambda media: {"messages": [{"role": "user", "content": [media]}]}),
        ("/v1/embeddings", lambda media: {"input": [[1, 2], [{"content": [media]}]]}),
        ("/tokenize", lambda media: {"messages": [{"role": "user", "content": [media]}]}),
    ],
)
async def test_nor_are_they_where_requests_go_to_a_server_as_they_came(gateway, path: str, fields) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))

    for media in ({"image_url": {"url": "file:///etc/passwd"}}, {"video_url": "/etc/passwd"}):
        status, refused = await status_of(cascade.url, {"model": "small", **fields(media)}, path=path)
        assert (status, refused["error"]["param"]) == (400, next(iter(media)))
    assert cascade.small.seen == cascade.small.counted == []


@pytest.mark.parametrize("url", ["https://a.example/a.png", "HTTP://a.example/a.png", "data:image/png;base64,AA"])
async def test_media_of_the_web_go_on(gateway, url: str) -> None:
    cascade = await gateway(small=Script("yes"), large=Script("no"))
    part = {"type": "image_url", "image_url": {"url": url}}

    assert (await status_of(cascade.url, {**ASK, "messages": [{"role": "user", "content": [part]}]}))[0] == 200
