"""What is found out about servers, and what follows from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import aiohttp.web
import pytest
from fakes.scripted import Script, ScriptedServer

from models.abilities import Abilities, Load
from models.answer import Finish
from models.endpoint import Endpoint, Limits
from models.errors import CapabilityMiss, Overloaded, Unreachable
from models.pool import Pool
from models.probing import load_of
from models.prompt import Handover, Prompt
from models.replica import Replica
from models.session import Session

LIMITS = Limits(connect_s=1.0, first_token_s=0.5, idle_s=0.5, total_s=2.0)
FIELDS = {"messages": [{"role": "user", "content": "is it?"}]}
PROMPT = Prompt(FIELDS, "id")
EXPOSITION = b"""# HELP vllm:num_requests_running Number
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
"""


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """Connections."""
    async with Session() as session:
        yield session


def pool_of(session: Session, *servers: ScriptedServer, model: str = "scripted") -> Pool:
    """A tier of these servers."""
    endpoints = [Endpoint(server.url, model) for server in servers]
    return Pool(endpoints, lambda endpoint: Replica(endpoint, session=session, limits=LIMITS))


async def probed(pool: Pool) -> Pool:
    """The pool, once it has asked its servers."""
    await asyncio.gather(*(replica.probe() for replica in pool.replicas))
    return pool


async def ask(pool: Pool, prompt: Prompt = PROMPT) -> Finish:
    """The end of an answer."""
    async with aclosing(pool.generate(prompt)) as answered:
        finish = [part async for part in answered][-1]
    assert isinstance(finish, Finish)
    return finish


@pytest.mark.parametrize("kind", ["none", "drafter", "handover"])
async def test_a_server_shows_what_it_can_do(session, kind) -> None:
    async with ScriptedServer(Script(speculation=kind)) as server:
        (replica,) = (await probed(pool_of(session, server))).replicas

    abilities = replica.abilities
    assert (abilities.models, abilities.adapters) == (("scripted", "adapter"), ("adapter",))
    assert (abilities.version, abilities.context_tokens) == ("0.0.0", 4096)
    assert (abilities.speculation, abilities.logprobs) == (kind, True)
    assert abilities.tokenizer


async def test_of_a_server_that_answers_nothing_else_nothing_is_known(session) -> None:
    async def list_models(_: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.json_response({"data": "none"})

    app = aiohttp.web.Application()
    app.router.add_get("/v1/models", list_models)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = Endpoint(f"http://127.0.0.1:{runner.addresses[0][1]}", "m")
    replica = Replica(endpoint, session=session, limits=LIMITS)

    await replica.probe()
    await runner.cleanup()

    assert replica.abilities == Abilities(speculation="none")
    assert replica.takes(PROMPT)


def test_the_load_is_that_of_all_engines() -> None:
    assert load_of(EXPOSITION) == Load(running=5, waiting=7, cache_share=0.5)
    assert load_of(b"<html>") == Load()
    assert load_of(b'\nvllm:num_requests_running{a="b"} NaN\nvllm:num_requests_running{} x') == Load()


@pytest.mark.parametrize(("awake", "asleep"), [("1.0", False), ("0.0", True)])
def test_a_server_that_sleeps_is_known_by_its_metrics(awake: str, asleep: bool) -> None:
    states = f'vllm:engine_sleep_state{{engine="0",sleep_state="awake"}} {awake}\n'
    others = 'vllm:engine_sleep_state{engine="0",sleep_state="weights_offloaded"} 0.0\n'

    assert load_of(f"# TYPE\n{others}{states}".encode()).asleep is asleep


async def test_a_server_that_sleeps_is_not_asked(session) -> None:
    async with ScriptedServer(Script()) as server:
        pool = pool_of(session, server)
        pool.replicas[0].load = Load(asleep=True)
        with pytest.raises(Unreachable, match="sleep"):
            await ask(pool)


async def test_requests_of_others_count_as_load(session) -> None:
    async with ScriptedServer(Script(waiting=50)) as busy, ScriptedServer(Script()) as idle:
        pool = await probed(pool_of(session, busy, idle))
        for _ in range(4):
            await ask(pool)

        assert (len(busy.seen), len(idle.seen)) == (0, 4)


@pytest.mark.parametrize("field", [{"min_p": 0.1}, {"logit_bias": {"5": 1}}, {"logprob_token_ids": [1]}])
async def test_what_an_engine_that_speculates_cannot_take_goes_to_one_that_can(session, field) -> None:
    prompt = Prompt({**FIELDS, **field}, "id")
    async with (
        ScriptedServer(Script(speculation="handover")) as first,
        ScriptedServer(Script(speculation="drafter")) as second,
        ScriptedServer(Script()) as plain,
    ):
        for _ in range(4):
            await ask(await probed(pool_of(session, first, second, plain)), prompt)
        with pytest.raises(CapabilityMiss, match="speculate"):
            await ask(await probed(pool_of(session, first, second)), prompt)

        assert (len(first.seen), len(second.seen), len(plain.seen)) == (0, 0, 4)


async def test_a_server_that_does_not_serve_the_model_is_not_asked(session) -> None:
    async with ScriptedServer(Script(served="other")) as other, ScriptedServer(Script()) as right:
        pool = await probed(pool_of(session, other, right))
        for number in range(6):
            await ask(pool, Prompt({"messages": [{"role": "user", "content": str(number)}]}, "id"))

        assert (len(other.seen), len(right.seen)) == (0, 6)


async def test_until_a_server_is_known_it_gets_nothing_that_could_end_it(session) -> None:
    async with ScriptedServer(Script(speculation="drafter")) as server:
        with pytest.raises(Overloaded, match="not known yet"):
            await ask(pool_of(session, server), Prompt({**FIELDS, "logprob_token_ids": [1]}, "id"))

        assert server.seen == []


async def test_a_server_that_is_down_is_not_the_clients_mistake(session) -> None:
    async with ScriptedServer(Script(speculation="drafter")) as drafting:
        async with ScriptedServer(Script()) as plain:
            pool = await probed(pool_of(session, drafting, plain))
        abilities = pool.replicas[1].abilities
        for _ in range(3):
            pool.replicas[1].breaker.found_lost()
        assert pool.replicas[1].abilities == abilities
        with pytest.raises(Unreachable):
            await ask(pool, Prompt({**FIELDS, "min_p": 0.1}, "id"))


async def test_of_full_servers_each_is_tried(session) -> None:
    async with (
        ScriptedServer(Script(status=503)) as first,
        ScriptedServer(Script(status=429)) as second,
        ScriptedServer(Script()) as third,
    ):
        for number in range(6):
            await ask(
                pool_of(session, first, second, third),
                Prompt({"messages": [{"role": "user", "content": f"{number}"}]}, "id"),
            )

        assert len(third.seen) == 6


async def test_what_makes_a_server_fail_from_within_is_no_reason_to_leave_it_alone(session) -> None:
    async with ScriptedServer(Script(status=501)) as server:
        pool = pool_of(session, server)
        for _ in range(5):
            with pytest.raises(CapabilityMiss):
                await ask(pool)

        assert len(server.seen) == 5


async def test_a_longer_context_takes_what_a_shorter_refuses(session) -> None:
    async with (
        ScriptedServer(Script(status=400, context_tokens=1024)) as short,
        ScriptedServer(Script(context_tokens=8192)) as long,
    ):
        pool = await probed(pool_of(session, short, long))
        pool.replicas[1].others = 50
        await ask(pool)

        assert (len(short.seen), len(long.seen)) == (1, 1)
        assert all(replica.breaker.state == "closed" for replica in pool.replicas)


async def test_a_lost_server_is_not_asked_until_it_answers_again(session) -> None:
    async with ScriptedServer(Script()) as staying:
        going = ScriptedServer(Script())
        async with going:
            pool = await probed(pool_of(session, going, staying))
        look = pool.replicas[0].abilities.look
        for _ in range(3):
            await probed(pool)
        assert [replica.breaker.state for replica in pool.replicas] == ["open", "closed"]
        assert pool.replicas[0].abilities == Abilities(look=look), "what it was"
        for number in range(8):
            await ask(pool, Prompt({"messages": [{"role": "user", "content": str(number)}]}, "id"))
        assert len(staying.seen) == 8


async def test_a_server_that_is_back_is_up_once_it_may_be_asked(session) -> None:
    async with ScriptedServer(Script()) as server:
        pool = pool_of(session, server)
        (replica,) = pool.replicas
        assert await pool.is_up()

        for _ in range(3):
            replica.breaker.found_lost()
        assert not await pool.is_up(), "it answers, but requests are not sent to it"

        await replica.probe()
        assert await pool.is_up()
        assert (await ask(pool)).usage is not None


async def test_where_all_servers_are_lost_that_is_said_at_once(session) -> None:
    async with ScriptedServer(Script()) as server:
        pool = pool_of(session, server)
    for _ in range(3):
        await probed(pool)

    with pytest.raises(Unreachable, match="all of them failed or sleep"):
        await ask(pool)


async def test_token_ids_are_handed_over_to_a_server_with_the_same_tokenizer(session) -> None:
    async with ScriptedServer(Script("yes it is", speculation="handover")) as server:
        pool = await probed(pool_of(session, server))
        tokenizer = pool.replicas[0].abilities.tokenizer
        finish = await ask(pool, PROMPT.handing_over(Handover("yes it was", (100, 101, 7), tokenizer)))

        assert server.seen[-1]["vllm_xargs"] == {"draft_token_ids": [100, 101, 7]}
    assert finish.speculation is not None
    assert (finish.speculation.proposed, finish.speculation.accepted) == (3, 2)
    assert pool.replicas[0].acceptance.rate == pytest.approx(2 / 3)


async def test_a_draft_of_another_tokenizer_is_cut_anew(session) -> None:
    async with ScriptedServer(Script("yes it is", speculation="handover")) as server:
        pool = await probed(pool_of(session, server))
        await ask(pool, PROMPT.handing_over(Handover("yes it was so", (7, 8), "another")))

        assert server.seen[-1]["vllm_xargs"] == {"draft_token_ids": [100, 101, 102, 103]}


async def test_a_server_that_takes_no_drafts_gets_none(session) -> None:
    async with ScriptedServer(Script("yes it is")) as server:
        pool = await probed(pool_of(session, server))
        await ask(pool, PROMPT.handing_over(Handover("yes it was", (100,), pool.replicas[0].abilities.tokenizer)))

        assert "vllm_xargs" not in server.seen[-1]


async def test_what_only_we_may_say_to_an_engine_is_taken_out_of_requests(session) -> None:
    theirs = {
        "kv_transfer_params": {"prompt_token_ids": [1]},
        "vllm_xargs": {"draft_token_ids": [1], "other": 2},
        "ec_transfer_params": {},
    }
    async with ScriptedServer(Script()) as server:
        await ask(pool_of(session, server), Prompt({**FIELDS, **theirs}, "id"))

        assert not theirs.keys() & server.seen[0].keys()


async def test_a_name_with_several_addresses_is_several_servers(session) -> None:
    addresses = ["127.0.0.1", "127.0.0.2"]

    async def resolve(host: str, _port: int) -> list[str]:
        if host != "pool.test" or not addresses:
            raise OSError(host)
        return addresses

    async with ScriptedServer(Script()) as server:
        port = server.url.rpartition(":")[2]
        endpoint = Endpoint(f"http://pool.test:{port}", "scripted")
        pool = Pool([endpoint], lambda one: Replica(one, session=session, limits=LIMITS), resolve=resolve)
        await pool.resolve()
        first, second = pool.replicas
        assert [first.endpoint.address, second.endpoint.address] == addresses
        assert first.endpoint.headers["host"] == f"pool.test:{port}"
        await ask(pool)

        addresses.remove("127.0.0.2")
        await pool.resolve()
        assert pool.replicas == (first,)
        addresses.clear()
        await pool.resolve()
        assert pool.replicas == (first,)
        await ask(pool)
