"""Run the conformance suite against our gateway and two others; write result.json and result.md."""

import json
import os
import platform
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notes import REMARKS, notes_on
from peers import CACHE, HERE, PEERS, SMALLFIRST, Peer, environment_of

from models.launcher.program import free_ports

UP_WITHIN_S = 120
VERDICTS = ("pass", "FAIL", "not run", "not served")
Results = dict[str, list[dict[str, str]]]


@contextmanager
def running(peer: Peer, port: int, upstream_port: int) -> Iterator[str]:
    """The gateway's address, while it runs."""
    log = CACHE / f"{peer.name}.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            peer.command(port, upstream_port), env=environment_of(peer, port), stdout=written, stderr=written
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_up(f"{url}{peer.alive}", process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers; raises SystemExit where it does not start."""
    until_s = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - http on loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SystemExit(f"{url} does not answer: see {log}")


def results_of(peer: Peer) -> list[dict[str, str]]:
    """What the suite says of a gateway."""
    port, upstream_port = free_ports(2)
    to_json = CACHE / "one.json"
    to_json.unlink(missing_ok=True)
    with running(peer, port, upstream_port) as url:
        command = (SMALLFIRST, "conformance", url, "--upstream-port", str(upstream_port), "--json", to_json)
        subprocess.run([*command, *peer.asked(upstream_port)], check=False, stdout=subprocess.DEVNULL)
    if not to_json.exists():
        raise SystemExit(f"the suite could not run against {peer.name}")
    results: list[dict[str, str]] = json.loads(to_json.read_text())
    return results


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def report(results: Results, installed: dict[str, str]) -> str:
    """The page."""
    names = [*results]
    counted = {name: Counter(result["verdict"] for result in results[name]) for name in names}
    counts = [[verdict, *(str(counted[name][verdict]) for name in names)] for verdict in VERDICTS]
    by_case = {name: {f"{one['area']}/{one['name']}": one for one in results[name]} for name in names}
    counts.insert(2, ["of these by design †", *(str(len(designed(name, by_case[name]))) for name in names)])
    rows = [
        [f"`{case}`", *(shown(name, case, by_case[name][case]["verdict"]) for name in names)]
        for case in by_case[names[0]]
    ]
    failures = "\n\n".join(
        f"### {name}\n\n" + table(["Case", "Seen", "Note"], list(rows_of(name, by_case)))
        for name in names
        if counted[name]["FAIL"]
    )
    versions = "; ".join(dict.fromkeys(installed.values()))
    machine = f"Python {platform.python_version()}, {platform.system()} on {platform.machine()}, {os.cpu_count()} cores"
    return f"""# Conformance of gateways

Written by `python bench/conformance/run.py`: the suite of [docs/conformance.md](../../docs/conformance.md) against each
gateway, in front of the same scripted model server, with the configuration that its documentation gives for an
OpenAI-compatible server such as vLLM (`smallfirst conformance --print-config`).

{versions}; {machine}.

What is compared is fidelity to the OpenAI API, as a client of a model server behind the gateway sees it; not features,
and not speed. Our own gateway was written with this suite at hand, the others were not. **A † marks a deviation that is
the gateway's design**, by its documentation or plainly by its code; it is one all the same for a client that relies on
what it changes.

{REMARKS}

{table(["", *names], counts)}

{table(["Case", *names], rows)}

## What was seen

{failures}
"""


def designed(name: str, cases: dict[str, dict[str, str]]) -> list[str]:
    """The cases that a gateway fails by its design."""
    return [case for case, one in cases.items() if "†" in shown(name, case, one["verdict"])]


def shown(name: str, case: str, verdict: str) -> str:
    """A verdict, marked where it is the gateway's design."""
    if verdict != "FAIL":
        return verdict
    return "**FAIL**†" if notes_on(name, case).startswith("By design") else "**FAIL**"


def rows_of(name: str, by_case: dict[str, dict[str, dict[str, str]]]) -> Iterator[list[str]]:
    """A gateway's failures."""
    for case, one in by_case[name].items():
        if one["verdict"] == "FAIL":
            yield [f"`{case}`", cell(one["seen"]), cell(notes_on(name, case))]


def cell(text: str) -> str:
    """A text in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\u2028", "\\u2028")


def main() -> None:
    """Install, run, write."""
    CACHE.mkdir(exist_ok=True)
    results: Results = {}
    installed: dict[str, str] = {}
    for peer in PEERS:
        sys.stdout.write(f"{peer.name}\n")
        installed[peer.name] = peer.install()
        results[peer.name] = results_of(peer)
    written = {"installed": installed, "results": results}
    (HERE / "result.json").write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (HERE / "result.md").write_text(report(results, installed), encoding="utf-8")


if __name__ == "__main__":
    main()
