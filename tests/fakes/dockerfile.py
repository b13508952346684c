"""A Dockerfile as the builder reads it: its stages, and what each of their lines says."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ARGUMENT = re.compile(r"\$(\w+)|\$\{(\w+)\}")


@dataclass(frozen=True)
class Line:
    """One instruction: its word in capitals, and the rest."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest, as the words of its JSON form or of a shell line."""
        return list(json.loads(self.rest)) if self.rest.startswith("[") else shlex.split(self.rest)

    @property
    def command(self) -> list[str]:
        """What is run: the JSON form as it is, else a shell with the line."""
        return self.words if self.rest.startswith("[") else ["/bin/sh", "-c", self.rest]


@dataclass(frozen=True)
class Stage:
    """A stage, by its name, with what it begins from."""

    name: str
    base: str
    lines: tuple[Line, ...]

    def all(self, word: str) -> list[Line]:
        """The lines with that word."""
        return [line for line in self.lines if line.word == word]

    def last(self, word: str) -> Line | None:
        """The one that counts."""
        return next(iter(self.all(word)[::-1]), None)


def stages_of(file: Path) -> Sequence[Stage]:
    """The stages in their order."""
    text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    stages: list[Stage] = []
    for written in lines:
        word, _, rest = written.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(name or str(len(stages)), base, ()))
            continue
        line = Line(word, re.sub(r"\s+", " ", rest.strip()))
        stages[-1] = Stage(stages[-1].name, stages[-1].base, (*stages[-1].lines, line))
    return stages


def lineage(stages: Sequence[Stage], name: str) -> list[Stage]:
    """The stage of that name after those that it begins from, the first of which begins from an image."""
    (stage,) = [stage for stage in stages if stage.name == name]
    before = [one for one in stages if one.name == stage.base]
    return [*(lineage(stages, stage.base) if before else []), stage]


def environment_of(lineage: Sequence[Stage], given: dict[str, str]) -> dict[str, str]:
    """The environment that the stages make of the given one."""
    environment = dict(given)
    for line in (line for stage in lineage for line in stage.lines):
        if line.word == "ENV":
            for word in line.words:
                name, _, value = word.partition("=")
                environment[name] = ARGUMENT.sub(lambda found: environment.get(found[1] or found[2], ""), value)
        if line.word == "ARG":
            name, _, value = line.rest.partition("=")
            environment.setdefault(name, value)
    return environment
