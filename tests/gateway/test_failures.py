"""What a client sees when models fail, and what models see when a client leaves."""

import asyncio

import aiohttp
import openai
import pytest
from fakes.pools import metrics_of
from fakes.scripted import Script
from fakes.waiting import until

MESSAGES = [{"role": "user", "content": "is it?"}]
QUICK = {"connect_s": 1.0, "first_token_s": 0.3, "idle_s": 0.3, "total_s": 0.6}

BROKEN = [
    (Script(trouble="reset"), "unreachable"),
    (Script(status=500), "unreachable"),
    (Script(status=503), "overloaded"),
    (Script(status=429), "overloaded"),
    (Script(status=401), "misconfigured"),
    (Script(status=404), "misconfigured"),
    (Script(status=400), "capability"),
    (Script(status=422, error="a string"), "capability"),
    (Script(trouble="hang"), "timeout"),
    (Script(trouble="html"), "bad-reply"),
    (Script(trouble="not-json"), "bad-reply"),
    (Script(trouble="no-choices"), "bad-reply"),
    (Script(trouble="wrong-types"), "bad-reply"),
]
BROKEN_STREAMS = [
    (Script("yes it is", trouble="cut-stream"), "bad-reply"),
    (Script("yes it is", trouble="error-in-stream"), "unreachable"),
    (Script("yes it is", trouble="stall"), "timeout"),
]


@pytest.mark.parametrize(("small", "reason"), BROKEN)
async def test_a_drafter_that_fails_escalates(gateway, small: Script, reason: str) -> None:
    cascade = await gateway(small=small, large=Script("no"), limits=QUICK)

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.parse().choices[0].message.content == "no"
    assert raw.headers["x-smallfirst-reason"] == reason


@pytest.mark.parametrize(("small", "reason"), [*BROKEN, *BROKEN_STREAMS])
async def test_a_drafter_that_fails_in_its_stream_leaves_no_trace(gateway, small: Script, reason: str) -> None:
    cascade = await gateway(small=small, large=Script("no it is not"), limits=QUICK)

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])

    assert text == "no it is not"
    assert raw.headers["x-smallfirst-reason"] == reason


async def test_a_tier_that_is_gone_escalates(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script("no"))
    await cascade.small.stop()

    raw = await cascade.client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)

    assert raw.headers["x-smallfirst-reason"] == "unreachable"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("large", "status", "code"),
    [
        (Script(trouble="reset"), 503, "model_unreachable"),
        (Script(status=500), 503, "model_unreachable"),
        (Script(status=429, headers={"retry-after": "7"}), 503, "overloaded"),
        (Script(status=401), 502, "model_misconfigured"),
        (Script(trouble="hang"), 504, "model_timeout"),
        (Script(status=400, error={"error": {"message": "too long", "param": "messages"}}), 400, None),
    ],
)
async def test_the_final_tiers_failure_is_an_openai_error(gateway, large, status, code, stream: bool) -> None:
    cascade = await gateway(small=Script(p=0.1), large=large, limits=QUICK)

    with pytest.raises(openai.APIStatusError) as caught:
        await cascade.client.chat.completions.create(model="auto", messages=MESSAGES, stream=stream)

    error = caught.value
    assert (error.status_code, error.code) == (status, code)
    assert error.response.headers["x-smallfirst-tier"] == "large"
    assert "127.0.0.1" not in error.message, "where the servers are is nobody's business"
    if status == 400:
        assert (error.param, error.body["message"]) == ("messages", "too long")
    if large.headers:
        assert error.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(("large", "_reason"), BROKEN_STREAMS)
async def test_a_failure_after_the_first_byte_is_an_error_event_and_the_end(gateway, large, _reason: str) -> None:
    cascade = await gateway(small=Script(p=0.1), large=large, limits=QUICK)

    stream = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
    seen: list[str] = []
    with pytest.raises(openai.APIError):
        await read(stream, seen)

    assert "".join(seen)
    assert "yes it is".startswith("".join(seen))


async def test_a_pause_in_a_stream_may_be_longer_than_the_first_token_takes(gateway) -> None:
    slow = Script("yes it is", p=0.1, pause_s=0.5)
    cascade = await gateway(small=Script(p=0.1), large=slow, limits={"first_token_s": 0.3, "idle_s": 5.0})

    stream = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
    seen: list[str] = []
    await read(stream, seen)

    assert "".join(seen) == "yes it is"


async def test_an_answer_later_than_the_deadline_is_an_error(gateway) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script(trouble="hang"), server={"deadline_s": 0.3})

    with pytest.raises(openai.APIStatusError) as caught:
        await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)

    assert (caught.value.status_code, caught.value.code) == (504, "deadline_exceeded")
    await until(lambda: cascade.large.left == 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("slow", ["small", "large"])
async def test_a_client_that_leaves_stops_the_work_upstream(gateway, stream: bool, slow: str) -> None:
    busy = Script("one two three " * 100, pause_s=0.5)
    scripts = {"small": busy, "large": Script()} if slow == "small" else {"small": Script(p=0.1), "large": busy}
    cascade = await gateway(**scripts)
    server = getattr(cascade, slow)

    async with aiohttp.ClientSession() as session:
        body = {"model": "auto", "messages": MESSAGES, "stream": stream}
        asking = asyncio.create_task(session.post(f"{cascade.url}/v1/chat/completions", json=body))
        await until(lambda: server.running == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await until(lambda: server.running == 0)
    assert server.left == 1
    assert 'status="499"' in await metrics_of(cascade.url)


async def test_a_client_that_leaves_behind_a_large_body_stops_the_work_upstream(gateway) -> None:
    cascade = await gateway(small=Script("one two three " * 100, pause_s=0.5), large=Script())

    async with aiohttp.ClientSession() as session:
        large = [{"role": "user", "content": "x" * 1_000_000}]
        asking = asyncio.create_task(
            session.post(f"{cascade.url}/v1/chat/completions", json={"model": "auto", "messages": large})
        )
        await until(lambda: cascade.small.running == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await until(lambda: cascade.small.running == 0)
    assert cascade.small.left == 1


async def test_a_cut_off_call_is_still_counted(gateway) -> None:
    cascade = await gateway(small=Script(trouble="hang"), large=Script("no"), limits=QUICK)

    reply = await cascade.client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "x" * 400}]
    )

    small = reply.usage.smallfirst["tiers"]["small"]
    assert small["estimated"] is True
    assert small["prompt_tokens"] == 101


async def test_a_server_that_reports_no_usage_gets_an_estimate(gateway) -> None:
    cascade = await gateway(small=Script("yes it is", usage=False), large=Script("no"))

    reply = await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)

    assert reply.usage.completion_tokens == 3
    assert reply.usage.smallfirst["tiers"]["small"]["estimated"] is True


async def test_ready_follows_the_final_tier(gateway) -> None:
    cascade = await gateway(small=Script(), large=Script())
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{cascade.url}/ready") as reply:
            assert reply.status == 200
        await cascade.large.stop()
        async with asyncio.timeout(10):
            while True:
                async with session.get(f"{cascade.url}/ready") as reply:
                    state = await reply.json()
                    if reply.status == 503:
                        break
                await asyncio.sleep(0.05)
        assert state["tiers"] == {"small": "up", "large": "down"}


async def test_what_happened_can_be_counted(gateway) -> None:
    cascade = await gateway(small=Script(p=0.1), large=Script("no"))
    await cascade.client.chat.completions.create(model="auto", messages=MESSAGES)

    text = await metrics_of(cascade.url)

    assert 'smallfirst_requests_total{cascade="auto",status="200",tier="large"} 1.0' in text
    assert 'smallfirst_escalations_total{cascade="auto",reason="unsure",tier="small"} 1.0' in text
    assert 'smallfirst_tier_tokens_total{kind="completion",tier="large"} 1.0' in text
    assert "smallfirst_requests_running 0.0" in text


async def read(stream, seen: list[str]) -> None:
    """Collect a stream's text."""
    async for chunk in stream:
        seen.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - what came before a failure counts
