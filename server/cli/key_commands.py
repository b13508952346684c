"""`smallfirst keys ...`: the commands' options."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

keys = typer.Typer(help="Who may ask: API keys, in the store of a configuration.", no_args_is_help=True)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The gateway's YAML file: its store has the keys.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id: what comes before its secret (sf-…).")]


Models = Annotated[list[str] | None, typer.Option("--model", help="A cascade or tier that it may ask; else all.")]
Modes = Annotated[list[str] | None, typer.Option("--mode", help="A mode that it may ask in; else all.")]
Requests = Annotated[int | None, typer.Option(help="The most requests.")]
Tokens = Annotated[int | None, typer.Option(help="The most tokens, of prompts and answers.")]
Streams = Annotated[int | None, typer.Option(help="The most requests at a time.")]
Cost = Annotated[float | None, typer.Option(help="In the currency of the prices (UTC).")]
Priority = Annotated[int | None, typer.Option(help="Higher goes first where some must wait.")]
Task = Annotated[str | None, typer.Option(help="The kind of its requests that name none.")]
Days = Annotated[float | None, typer.Option(min=0, help="How long it is good, from now; else until it is revoked.")]


class Bound(StrEnum):
    """What can be taken away from a key."""

    MODELS = "models"
    MODES = "modes"
    REQUESTS = "requests-per-minute"
    TOKENS = "tokens-per-minute"
    STREAMS = "streams-at-once"
    DAY = "cost-per-day"
    MONTH = "cost-per-month"
    TASK = "task"
    END = "end"


@keys.command()
def create(
    config: Config,
    name: Annotated[str, typer.Argument(help="Who it is for.")],
    models: Models = None,
    modes: Modes = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    streams_at_once: Streams = None,
    cost_per_day: Cost = None,
    cost_per_month: Cost = None,
    priority: Priority = None,
    task: Task = None,
    days: Days = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may administer the gateway.")] = False,
) -> None:
    """Make a key and print it, once."""
    from server.cli.keys import run_create

    limits = said(
        models=models, modes=modes, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute,
        streams_at_once=streams_at_once, cost_per_day=cost_per_day, cost_per_month=cost_per_month, priority=priority,
    )  # fmt: skip
    fields = {"name": name, "allowance": limits, "task": task, "is_admin": admin}
    raise typer.Exit(run_create(config, os.environ, fields, days=days))


@keys.command()
def change(
    config: Config,
    identity: Id,
    name: Annotated[str | None, typer.Option(help="Who it is for.")] = None,
    models: Models = None,
    modes: Modes = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    streams_at_once: Streams = None,
    cost_per_day: Cost = None,
    cost_per_month: Cost = None,
    priority: Priority = None,
    task: Task = None,
    days: Days = None,
    admin: Annotated[bool | None, typer.Option("--admin/--no-admin", help="Whether it may administer.")] = None,
    without: Annotated[list[Bound] | None, typer.Option(help="What no longer bounds it.")] = None,
) -> None:
    """Change what a key may do; its secret and all that is not said stay."""
    from server.cli.keys import run_change

    limits = said(
        models=models, modes=modes, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute,
        streams_at_once=streams_at_once, cost_per_day=cost_per_day, cost_per_month=cost_per_month, priority=priority,
    )  # fmt: skip
    fields = said(name=name, allowance=limits or None, task=task, is_admin=admin)
    raise typer.Exit(run_change(config, os.environ, identity, fields, days=days, without=without or ()))


def said(**options: object) -> Mapping[str, object]:
    """Those that were given; a list that nobody added to was not."""
    return {name: value for name, value in options.items() if value is not None and value != []}


@keys.command("list")
def list_keys(
    config: Config, revoked: Annotated[bool, typer.Option("--revoked", help="Those that were revoked too.")] = False
) -> None:
    """Show all keys and what they may do; never their secrets, which nobody has but their owners."""
    from server.cli.keys import run_list

    raise typer.Exit(run_list(config, os.environ, revoked=revoked))


@keys.command()
def rotate(
    config: Config,
    identity: Id,
    grace_hours: Annotated[float, typer.Option(min=0, max=720, help="How long the secret before is good still.")] = 0.0,
) -> None:
    """Give a key another secret, and print it, once; its id, limits and usage stay."""
    from server.cli.keys import run_rotate

    raise typer.Exit(run_rotate(config, os.environ, identity, grace_s=grace_hours * 3600))


@keys.command()
def revoke(config: Config, identity: Id) -> None:
    """End a key for good: within 5 s at all gateways whose database answers."""
    from server.cli.keys import run_revoke

    raise typer.Exit(run_revoke(config, os.environ, identity))
