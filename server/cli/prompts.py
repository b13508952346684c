"""`smallfirst prompts`: requests of the decision log as prompts for `smallfirst record`, with what was said of them."""

import sys
from collections.abc import Iterable, Iterator
from random import Random

import orjson

from models.wire import JsonObject
from router.lab.questions import NOT_ASKED
from server.cli.console import complain
from server.cli.explain import CannotExplain, home
from server.store.reading import Asked, asked
from server.store.records import StoreDown


def run_prompts(store: str, *, cascade: str | None, sample: int | None, judged_only: bool, seed: int) -> int:
    """Print them, a line each; 1 where the store cannot be read, or has none."""
    printed = 0
    try:
        for one in drawn(asked(home(store).url, cascade=cascade, judged_only=judged_only), sample, seed):
            sys.stdout.buffer.write(orjson.dumps(prompt_of(one), option=orjson.OPT_APPEND_NEWLINE))
            printed += 1
    except (CannotExplain, StoreDown) as wrong:
        complain([f"the store cannot be read: {wrong}"])
        return 1
    if not printed:
        complain(["there is no such request with its text: texts are kept where `store.texts` is on"])
    return 0 if printed else 1


def drawn(requests: Iterable[Asked], sample: int | None, seed: int) -> Iterator[Asked]:
    """All conversations among them; or so many, each as likely as any other (Vitter's algorithm R, 1985)."""
    conversations = (one for one in requests if "messages" in one.request)
    if sample is None:
        yield from conversations
        return
    random, kept = Random(seed), list[Asked]()
    for place, one in enumerate(conversations):
        if place < sample:
            kept.append(one)
        elif (other := random.randrange(place + 1)) < sample:
            kept[other] = one
    yield from kept


def prompt_of(one: Asked) -> JsonObject:
    """A line: the request, and as `gold` what the client was told where somebody called that right, or what should have
    been said."""
    fields = {name: value for name, value in one.request.items() if name not in NOT_ASKED}
    gold = gold_of(one)
    known: JsonObject = {"id": one.id, **({"task": one.task} if one.task else {}), **({"gold": gold} if gold else {})}
    return {**fields, **known}


def gold_of(one: Asked) -> str | None:
    """The right answer, where feedback tells."""
    if one.feedback is None:
        return None
    return one.feedback.correction or (one.answer if one.feedback.label == "right" else None)
