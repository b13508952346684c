"""`smallfirst check` on a wrong configuration: one line that says where the mistake is, and exit code 2."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from server.cli.check import run_check

RIGHT = """\
tiers:
  small: {model: s, price: {input: 0.02, output: 0.04}, urls: [http://small:8000]}
  large: {model: l, price: {input: 0.40, output: 1.20}, urls: [http://large:8000]}
cascades:
  auto: {tiers: [small, large], threshold: 0.9}
server: {host: 127.0.0.1}
"""


def test_a_right_configuration_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_check(written(RIGHT, tmp_path), {"SMALLFIRST_TIERS__LARGE__API_KEY": "sk-secret"})

    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "small if mean-logprob confidence >= 0.9, else large" in said.out
    assert "sk-secret" not in said.out


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("model: s,", "model: s, modle: t,", "tiers.small.modle: unknown key"),
        ("price: {input: 0.02, output: 0.04}, ", "", "tiers.small.price: field required"),
        ("output: 1.20", "output: -1", "tiers.large.price.output: input should be greater than or equal to 0"),
        ("[small, large]", "[small, lrage]", "cascades.auto.tiers: there is no tier 'lrage'"),
        ("[small, large]", "[small, small]", "cascades.auto.tiers: a tier is listed twice"),
        ("auto:", "small:", "'small' names a tier and a cascade"),
        ("threshold: 0.9", "threshold: 90", "cascades.auto.threshold: input should be less than or equal to 1"),
        ("threshold: 0.9", "threshold: 0.9, mode: certified", "cascades.auto.mode: mode 'certified' is not served yet"),
        ("threshold: 0.9", "threshold: 0.9, mode: exact", "cascades.auto.mode: mode 'exact' is not served yet"),
        ("host: 127.0.0.1", "host: 0.0.0.0", "server: anyone who reaches '0.0.0.0' could call the gateway"),
        ("http://small:8000", "http://small:8000/v1", "tiers.small.urls: 'http://small:8000/v1' ends in /v1"),
        ("http://small:8000", "small:8000", "tiers.small.urls: 'small:8000' is no http or https address"),
        (", urls: [http://small:8000]", "", "tiers.small: give urls of running servers, or an engine"),
        ("urls: [http://small:8000]", "engine: {kind: llama}", "tiers.small.engine.kind: input should be"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, mistake: str
) -> None:
    assert right in RIGHT

    complaint = complaint_about(written(RIGHT.replace(right, wrong), tmp_path), {}, capsys)

    assert complaint.startswith(f"error: {mistake}")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (RIGHT + "cascades: {}\n", "the key 'cascades' is given twice"),
        ("tiers: [small\n", "while parsing a flow sequence"),
        ("tiers: small: {}\n", "mapping values are not allowed here"),
        ("- tiers\n", "a mapping with the key `tiers` is wanted"),
        ("", "a mapping with the key `tiers` is wanted"),
        ("\x00", "unacceptable character"),
    ],
)
def test_what_is_no_configuration_is_one_line_that_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, mistake: str
) -> None:
    file = written(text, tmp_path)

    complaint = complaint_about(file, {}, capsys)

    assert complaint.startswith(f"error: {file}: {mistake}")


@pytest.mark.parametrize(("name", "mistake"), [("absent.yaml", "No such file"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read_is_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, mistake: str
) -> None:
    complaint = complaint_about(tmp_path / name, {}, capsys)

    assert complaint.startswith(f"error: {tmp_path / name}: {mistake}")


@pytest.mark.parametrize(
    ("variable", "value", "mistake"),
    [
        ("SMALLFIRST_SERVER__PROT", "8081", "server.prot: unknown key"),
        ("SMALLFIRST_SERVER__PORT", "many", "server.port: input should be a valid integer"),
        ("SMALLFIRST_SERVER__PORT", "[", "SMALLFIRST_SERVER__PORT: its value is no YAML"),
        ("SMALLFIRST_SERVER__HOST__NAME", "x", "SMALLFIRST_SERVER__HOST__NAME: there is no such key"),
        ("SMALLFIRST_CASCADES__AUTO__THRESHOLD", "2", "cascades.auto.threshold: input should be less than"),
        ("SMALLFIRST_TIERS__LARGE__API_KEY", "123456", "tiers.large.api_key: input should be a valid string"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_the_key_or_the_variable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str, value: str, mistake: str
) -> None:
    complaint = complaint_about(written(RIGHT, tmp_path), {variable: value}, capsys)

    assert complaint.startswith(f"error: {mistake}")


def test_each_mistake_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(RIGHT.replace("model: s, ", "").replace("threshold: 0.9", "threshold: 9"), tmp_path)

    assert run_check(file, {}) == 2

    where = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]
    assert where == ["tiers.small.model", "cascades.auto.threshold"]


def complaint_about(file: Path, environment: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that `check` writes before it exits with 2."""
    assert run_check(file, environment) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def written(text: str, folder: Path) -> Path:
    """A file of this text."""
    file = folder / "configuration.yaml"
    file.write_text(text, encoding="utf-8")
    return file
