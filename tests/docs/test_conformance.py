"""docs/conformance.md says what the suite does."""

from pathlib import Path

from typer.main import get_command

from server.cli.main import app
from server.conformance.suite import CASES

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
NEEDS = {"nothing": "", "upstream": "model", "cascade": "cascade"}


def rows(first_column: str) -> list[list[str]]:
    """The rows of the table whose first column has this title."""
    _, _, after = PAGE.partition(f"| {first_column} |")
    lines = after.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")] for line in lines]


def test_every_case_is_documented_in_its_own_words() -> None:
    documented = {row[0].strip("`"): (row[1], row[2]) for row in rows("Case")}

    assert documented == {
        f"{case.area}/{case.name}": (NEEDS[case.needs], case.meaning.rstrip(".") + ".") for case in CASES
    }


def test_every_option_is_documented() -> None:
    documented = {row[0].strip("`").split(" ")[0] for row in rows("Option")}
    command = get_command(app).commands["conformance"]

    options = {param.opts[0] for param in command.params if param.param_type_name == "option"}
    assert documented == {"URL", *options} - {"--help"}


def test_the_number_of_cases_is_the_suites() -> None:
    assert f"\n{len(CASES)} cases: " in PAGE
