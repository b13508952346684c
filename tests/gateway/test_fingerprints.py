"""A certificate is for the models that were recorded: it lapses where a server becomes another one."""

from fakes.pools import metrics_of, pools_of, probed
from fakes.scripted import Script, ScriptedServer
from fakes.trusting import certificate, trust
from fakes.waiting import until
from gateway.test_watching import Watched, certificate_of, headers_of, watched

from models.endpoint import Endpoint, Limits
from models.recognition import Recognition
from models.replica import Replica
from models.session import Session

SMALL = Script("yes", p=0.9)


async def fingerprint_of(script: Script) -> str:
    """Of a server with this script."""
    async with ScriptedServer(script) as server, Session() as session:
        replica = Replica(Endpoint(server.url, "scripted"), session=session, limits=Limits())
        await replica.probe()
    assert replica.abilities.fingerprint is not None
    return replica.abilities.fingerprint


async def asked_again(cascade: Watched) -> None:
    """The small model's server was asked what it is, and said it."""
    (replica,) = cascade.app.state.served.pools["small"].replicas
    before = cascade.small.trials
    replica.recognition = Recognition()  # it is due
    await replica.probe()
    await replica.probe()
    assert cascade.small.trials > before


async def test_a_certificate_lapses_while_a_server_that_stays_up_is_another() -> None:
    tiers = [{"model": "scripted", "fingerprint": await fingerprint_of(SMALL)}, {"model": "scripted"}]
    async with watched(judged=trust(certified=certificate(0.5), tiers=tiers)) as cascade:
        await probed(cascade.url)
        assert (await headers_of(cascade))["x-smallfirst-mode"] == "certified"

        cascade.small.script = Script("yes", p=0.9, first_token_id=700)
        await asked_again(cascade)
        changed = await headers_of(cascade)
        assert (changed["x-smallfirst-mode"], changed["x-smallfirst-reason"]) == ("exact", "stale")
        assert "a server of scripted is another than was recorded" in (await certificate_of(cascade.url))["why"]

        cascade.small.script = SMALL
        await asked_again(cascade)
        assert (await headers_of(cascade))["x-smallfirst-mode"] == "certified"


async def test_a_server_that_no_longer_says_what_it_is_is_no_other_and_its_age_is_shown() -> None:
    tiers = [{"model": "scripted", "fingerprint": await fingerprint_of(SMALL)}, {"model": "scripted"}]
    async with watched(judged=trust(certified=certificate(0.5), tiers=tiers)) as cascade:
        await probed(cascade.url)
        cascade.small.script = Script("yes", p=0.9, first_token_id=700, trouble="silent")
        (replica,) = cascade.app.state.served.pools["small"].replicas
        replica.recognition.doubted()
        await until(lambda: replica.recognition.age_s > 0)

        assert (await headers_of(cascade))["x-smallfirst-mode"] == "certified"
        (shown,) = [pool["replicas"][0] for pool in await pools_of(cascade.url) if pool["tier"] == "small"]
        assert shown["fingerprint"] == tiers[0]["fingerprint"]
        assert 0 < shown["fingerprint_age_s"] < 60
        assert 'smallfirst_replica_fingerprint_age_seconds{replica="' in await metrics_of(cascade.url)
