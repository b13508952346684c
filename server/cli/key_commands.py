"""`smallfirst keys ...`: the commands' options."""

import os
from pathlib import Path
from typing import Annotated

import typer

keys = typer.Typer(help="Who may ask: API keys, in the store of a configuration.", no_args_is_help=True)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The gateway's YAML file: its store has the keys.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id: what comes before its secret (sf-…).")]


@keys.command()
def create(
    config: Config,
    name: Annotated[str, typer.Argument(help="Who it is for.")],
    model: Annotated[list[str] | None, typer.Option(help="A cascade or tier that it may ask; else all.")] = None,
    mode: Annotated[list[str] | None, typer.Option(help="A mode that it may ask in; else all.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="The most requests.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="The most tokens, of prompts and answers.")] = None,
    streams_at_once: Annotated[int | None, typer.Option(help="The most requests at a time.")] = None,
    cost_per_day: Annotated[float | None, typer.Option(help="In the currency of the prices (UTC).")] = None,
    cost_per_month: Annotated[float | None, typer.Option(help="In the currency of the prices (UTC).")] = None,
    priority: Annotated[int, typer.Option(help="Higher goes first where some must wait.")] = 0,
    task: Annotated[str | None, typer.Option(help="The kind of its requests that name none.")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="How long it is good; else until it is revoked.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It may administer the gateway.")] = False,
) -> None:
    """Make a key and print it, once."""
    from server.cli.keys import run_create

    limits = {
        "models": model or None,
        "modes": mode or None,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "streams_at_once": streams_at_once,
        "cost_per_day": cost_per_day,
        "cost_per_month": cost_per_month,
        "priority": priority,
    }
    fields = {"name": name, "allowance": limits, "task": task, "is_admin": admin}
    raise typer.Exit(run_create(config, os.environ, fields, days=days))


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
