"""docs/recorded.md says what a recorded file has, which graders there are, and how prompts are written."""

import re
from pathlib import Path

from typer.testing import CliRunner

from router.graders import GRADERS, plugged_in
from router.lab.grading import AGREEMENT, COMMAND, JUDGE
from router.lab.outcomes import Output, Recorded
from router.lab.questions import question_of
from server.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "recorded.md").read_text(encoding="utf-8")


def first_cells(first_column: str) -> list[str]:
    """The first column of the table with this title, without backquotes."""
    table = PAGE.partition(f"| {first_column} |")[2].partition("\n\n")[0]
    return [line.split("|")[1].strip().strip("`") for line in table.splitlines()[2:]]


def test_every_field_of_the_format_is_documented() -> None:
    assert first_cells("Field") == [*Recorded.model_fields]
    assert first_cells("Output") == [*Output.model_fields]


def test_every_grader_is_documented() -> None:
    named = [name.partition(":")[0] for name in first_cells("grader")]

    assert sorted(named) == sorted([*GRADERS, "regex", AGREEMENT, COMMAND, JUDGE])


def test_every_option_is_documented() -> None:
    for command in ("record", "grade"):
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
        options = set(re.findall(r"--[a-z-]+", shown)) - {"--help"}

        assert len(options) >= 4
        assert {option for option in options if option not in PAGE} == set()


def test_the_prompts_that_are_shown_can_be_asked() -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)

    first, second = (question_of(line.encode(), "the page") for line in shown.splitlines())

    assert (first.prompt, first.gold, first.task, first.grader) == (second.prompt, "5", "sums", "numeric")
    assert second.request["max_tokens"] == 50


def test_the_grader_that_is_shown_is_one() -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    made: dict[str, object] = {}
    exec(compile(shown, "the page", "exec"), made)  # noqa: S102 - our own page

    grader = plugged_in("case-blind", made["CaseBlind"])

    assert [grader.grade(" YES", "yes"), grader.grade("no", "yes"), grader.grade("no", None)] == [True, False, None]
