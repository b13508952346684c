"""Usage: the counts are the model's, and add up."""

from server.conformance.case import case
from server.conformance.json_values import Json, at, is_count, short
from server.conformance.plays import words
from server.conformance.stage import Stage
from server.conformance.wrong import expect, expect_same

AREA = "usage"
REPLY = words("yes it is")
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


async def adds_up(stage: Stage) -> str:
    """A whole reply has usage: whole numbers, of which prompt and completion make the total."""
    return added_up(at((await stage.ask_plainly()).whole(), "usage"))


async def adds_up_streamed(stage: Stage) -> str:
    """The same of a stream with `include_usage`."""
    chunks = (await stage.ask_plainly(stream=True, stream_options={"include_usage": True})).streamed()
    return added_up(next((chunk.get("usage") for chunk in chunks if chunk.get("usage")), None))


def added_up(usage: Json) -> str:
    """Raise Wrong where the counts are none, or do not add up."""
    expect(isinstance(usage, dict), "no usage came")
    prompt, completion, total = (at(usage, name) for name in COUNTS)
    for name, count in zip(COUNTS, (prompt, completion, total), strict=True):
        expect(is_count(count), f"{name} is {short(count)}")
    adds = isinstance(prompt, int) and isinstance(completion, int) and prompt + completion == total
    expect(adds, f"{prompt} + {completion} is not {total}")
    return f"{prompt} + {completion} = {total}"


async def is_the_models(stage: Stage) -> str:
    """The counts are those that the model reported, with its details."""
    with stage.plays(REPLY) as play:
        usage = at((await stage.ask(play)).whole(), "usage")
    return reported(usage, 1)


async def is_the_models_streamed(stage: Stage) -> str:
    """The same of a stream."""
    with stage.plays(REPLY) as play:
        chunks = (await stage.ask(play, stream=True, stream_options={"include_usage": True})).streamed()
    return reported(next((chunk.get("usage") for chunk in chunks if chunk.get("usage")), None), 1)


async def counts_every_choice(stage: Stage) -> str:
    """With `n` of 2 the tokens of both answers are counted."""
    with stage.plays(REPLY) as play:
        usage = at((await stage.ask(play, n=2)).whole(), "usage")
    return reported(usage, 2)


def reported(usage: Json, n: int) -> str:
    """Raise Wrong where it is not what the model reported."""
    wanted = REPLY.usage(n)
    for name in COUNTS:
        expect_same(at(usage, name), wanted[name], name)
    cached = at(usage, "prompt_tokens_details", "cached_tokens")
    expect_same(cached, at(wanted, "prompt_tokens_details", "cached_tokens"), "prompt_tokens_details.cached_tokens")
    return f"{at(usage, 'completion_tokens')} completion tokens, as reported"


CASES = (
    case(AREA, "sum", adds_up, "nothing"),
    case(AREA, "sum-streamed", adds_up_streamed, "nothing"),
    case(AREA, "counts", is_the_models),
    case(AREA, "counts-streamed", is_the_models_streamed),
    case(AREA, "counts-of-choices", counts_every_choice),
)
