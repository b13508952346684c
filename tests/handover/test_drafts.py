"""The drafts of an engine's running requests, with requests as vLLM's model runner holds them."""

from dataclasses import dataclass, field

import pytest

from models.handover.contract import KEY
from models.handover.drafts import Drafts

PROMPT = 10
DRAFT = list(range(20, 60))


@dataclass(eq=False)
class Asked:
    """Sampling parameters."""

    extra_args: dict[str, object] | None = field(default_factory=lambda: {KEY: DRAFT})
    max_tokens: int | None = 1000
    min_tokens: int = 0


@dataclass
class Request:
    """A request of ten prompt tokens."""

    sampling_params: Asked | None = field(default_factory=Asked)
    output_token_ids: list[int] = field(default_factory=lambda: DRAFT[:1])

    @property
    def num_tokens(self) -> int:
        return PROMPT + len(self.output_token_ids)


def next_tokens(drafts: Drafts, request: Request, *, name: str = "a", context: int = 1000) -> list[int]:
    """What is proposed for a request."""
    return drafts.next(name, request, context=context)


@pytest.fixture
def drafts() -> Drafts:
    return Drafts(vocabulary=100, tokens_a_step=8)


def test_the_draft_is_proposed_as_far_as_a_step_verifies(drafts) -> None:
    request = Request()
    assert next_tokens(drafts, request) == DRAFT[1:9]

    request.output_token_ids += DRAFT[1:10]

    assert next_tokens(drafts, request) == DRAFT[10:18]


@pytest.mark.parametrize(
    "asked",
    [None, Asked(None), Asked({}), Asked({KEY: None}), Asked({KEY: []}), Asked({KEY: "text"}), Asked({KEY: [1000]})],
    ids=["pooling", "nothing", "other things", "null", "empty", "text", "beyond the vocabulary"],
)
def test_a_request_without_a_draft_gets_no_speculation(drafts, asked: Asked | None) -> None:
    assert next_tokens(drafts, Request(asked)) == []


@pytest.mark.parametrize("left", [0, 1, 2, 5, 8, 9])
def test_no_more_is_proposed_than_the_answer_has_room_for(drafts, left: int) -> None:
    room = max(0, left - 1)

    assert len(next_tokens(drafts, Request(Asked(max_tokens=1 + left)))) == min(8, room)
    assert len(next_tokens(drafts, Request(), name="b", context=PROMPT + 1 + left)) == min(8, room)


def test_no_step_begins_below_the_least_tokens_and_ends_beyond_them(drafts) -> None:
    request = Request(Asked(min_tokens=5))
    assert next_tokens(drafts, request) == DRAFT[1:4]

    request.output_token_ids += DRAFT[1:5]

    assert next_tokens(drafts, request) == DRAFT[5:13]


def test_an_id_that_is_used_again_has_its_own_draft(drafts) -> None:
    next_tokens(drafts, Request())
    other = [*DRAFT[:1], *range(70, 90)]

    assert next_tokens(drafts, Request(Asked({KEY: other}))) == other[1:9]
    assert next_tokens(drafts, Request(Asked({}))) == []


def test_tokens_that_an_engine_takes_back_are_forgotten(drafts) -> None:
    request = Request(output_token_ids=DRAFT[:30])
    next_tokens(drafts, request)

    del request.output_token_ids[3:]

    assert next_tokens(drafts, request) == DRAFT[3:11]


def test_a_request_is_forgotten_when_its_engine_is_done_with_it(drafts) -> None:
    running = {str(number): Request() for number in range(50)}
    for name, request in running.items():
        next_tokens(drafts, request, name=name)
    assert len(drafts) == 50

    drafts.keep({"7": running["7"]})

    assert len(drafts) == 1
    assert next_tokens(drafts, running["7"], name="7") == DRAFT[1:9]
