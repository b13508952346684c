"""The questions that are recorded: read from lines of JSON, and checked before the first one is asked."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import orjson

from models.forms import last_turn
from models.wire import Json, JsonObject
from router.lab.outcomes import BadRecord, Output, Recorded, read_lines, recorded_of

OURS = ("id", "task", "gold", "grader")
NOT_ASKED = ("model", "stream", "stream_options", "smallfirst")


class BadPrompts(Exception):
    """A line that is no prompt."""


@dataclass(frozen=True, slots=True)
class Question:
    """A chat request, and what is known of it beforehand; `outputs` are those of tiers that answered it before."""

    id: str
    request: JsonObject
    task: str | None = None
    gold: Json = None
    grader: str | None = None
    outputs: Mapping[str, Output] = field(default_factory=dict)

    @property
    def prompt(self) -> str | None:
        """The text of the last turn that is the user's."""
        return last_turn(self.request) or None

    def at_temperature(self, temperature: float) -> "Question":
        """The same question at this temperature, unless its request names one."""
        if self.request.get("temperature") is not None:
            return self
        return replace(self, request={**self.request, "temperature": temperature})

    def answered(self, outputs: Mapping[str, Output]) -> Recorded:
        """The question with these answers, beside those that it had."""
        return Recorded(
            id=self.id, task=self.task, prompt=self.prompt, request=self.request, gold=self.gold, grader=self.grader,
            outputs={**self.outputs, **outputs},
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Survey:
    """What some questions are: a hash of each one's request, by its id, and the graders that they name."""

    digests: Mapping[str, bytes]
    graders: frozenset[str]


def read_questions(file: Path) -> Iterator[Question]:
    """The file's questions, gzipped or not, one at a time. Raises BadPrompts or OSError."""
    if file.exists() and not file.is_file():
        raise BadPrompts(f"{file}: prompts are read twice, so they have to be in a file")
    try:
        for where, line in read_lines(file):
            yield question_of(line, where)
    except BadRecord as wrong:
        raise BadPrompts(str(wrong)) from wrong


def survey(questions: Iterable[Question]) -> Survey:
    """Look at all of them. Raises BadPrompts where two different ones have one id, and what `questions` raises."""
    digests: dict[str, bytes] = {}
    graders: set[str] = set()
    for question in questions:
        digest = digest_of(question.request)
        if digests.setdefault(question.id, digest) != digest:
            raise BadPrompts(f"two different questions have the id {question.id!r}")
        if question.grader is not None:
            graders.add(question.grader)
    return Survey(digests, frozenset(graders))


def only(questions: Iterable[Question], wanted: Iterable[str]) -> Iterator[Question]:
    """Those with these ids, each once."""
    left = set(wanted)
    for question in questions:
        if question.id in left:
            left.discard(question.id)
            yield question


def question_of(line: bytes, where: str) -> Question:
    """One line: a chat request, a prompt, or a question that was recorded before. Raises BadPrompts or BadRecord."""
    try:
        told: Json = orjson.loads(line)
    except orjson.JSONDecodeError as broken:
        raise BadPrompts(f"{where}: no JSON") from broken
    if not isinstance(told, dict):
        raise BadPrompts(f"{where}: no JSON object")
    if "outputs" in told:
        return recorded_before(recorded_of(line, where), where)
    request = request_of(told, where)
    return Question(
        id=id_of(told.get("id"), request, where),
        request=request,
        task=word_of(told, "task", where) or task_of(told),
        gold=told.get("gold"),
        grader=word_of(told, "grader", where),
    )


def recorded_before(recorded: Recorded, where: str) -> Question:
    """A question of a recorded file. Raises BadPrompts where it has no text."""
    if not recorded.id:
        raise BadPrompts(f"{where}: id: an empty one")
    told: JsonObject = {"prompt": recorded.prompt} if recorded.request is None else recorded.request
    return Question(
        recorded.id, request_of(told, where), recorded.task, recorded.gold, recorded.grader, recorded.outputs
    )


def request_of(told: JsonObject, where: str) -> JsonObject:
    """The chat request in a line. Raises BadPrompts."""
    if "messages" in told:
        messages = told["messages"]
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise BadPrompts(f"{where}: messages: a list of objects is wanted")
        return {name: value for name, value in told.items() if name not in (*OURS, *NOT_ASKED)}
    prompt = told.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise BadPrompts(f'{where}: neither "messages" nor the text of a "prompt"')
    odd = next((name for name in told if name not in ("prompt", *OURS)), None)
    if odd is not None:
        raise BadPrompts(f'{where}: {odd}: fields of a request go with "messages", not with a "prompt"')
    return {"messages": [{"role": "user", "content": prompt}]}


def id_of(given: Json, request: JsonObject, where: str) -> str:
    """The question's own id, or a hash of its request. Raises BadPrompts."""
    if given is None:
        return digest_of(request).hex()
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise BadPrompts(f"{where}: id: a text or a number is wanted")
    return str(given)


def word_of(told: JsonObject, name: str, where: str) -> str | None:
    """A text, where there is one. Raises BadPrompts."""
    value = told.get(name)
    if value is not None and not isinstance(value, str):
        raise BadPrompts(f"{where}: {name}: a text is wanted")
    return value or None


def task_of(told: JsonObject) -> str | None:
    """The task that a request to the gateway names."""
    controls = told.get("smallfirst")
    task = controls.get("task") if isinstance(controls, dict) else None
    return task if isinstance(task, str) else None


def digest_of(request: JsonObject) -> bytes:
    """A hash of a request, whatever the order of its fields."""
    return blake2b(json.dumps(request, sort_keys=True).encode(), digest_size=8).digest()
