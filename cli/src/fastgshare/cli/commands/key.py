"""`fastgshare key`: who may come in over HTTP and gRPC."""

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from msgspec.structs import replace
from rich.table import Table

from fastgshare.cli.consoles import table_console
from fastgshare.cli.running import Url, Usage, reported, say, with_client
from fastgshare.client.connection import Client
from fastgshare.shared.ids import KeyId
from fastgshare.shared.messages import ApiKey, KeyLimits, Scope
from fastgshare.shared.units import US_PER_S

_LIFETIME = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0}

key = typer.Typer(
    no_args_is_help=True,
    help="Make, list, limit and revoke API keys. With the first key, HTTP and gRPC let nobody in without one.",
)

Rate = Annotated[float | None, typer.Option("--rate", help="Calls a second, sustained; 0: no limit.")]
Burst = Annotated[int | None, typer.Option("--burst", help="Calls at once; default: the rate.")]
PerDay = Annotated[int | None, typer.Option("--per-day", help="Calls in a UTC day; 0: no limit.")]


@key.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, for people.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it allows; repeatable. Default: invoke.")] = None,
    function: Annotated[list[str] | None, typer.Option(help="Only this function; repeatable. Default: all.")] = None,
    rate: Rate = None,
    burst: Burst = None,
    per_day: PerDay = None,
    expires: Annotated[str | None, typer.Option(help="Lifetime, as 45m, 12h or 30d. Default: none.")] = None,
    url: Url = None,
) -> None:
    """Make a key and print it, this once: only its digest is stored."""

    async def act(client: Client) -> None:
        limits = KeyLimits(rate_rps=rate or 0.0, burst=burst or 0, per_day=per_day or 0)
        made, text = await client.keys.create(
            name,
            scopes=scope or [Scope.INVOKE],
            functions=function or [],
            limits=limits,
            lifetime_s=lifetime_s,
        )
        say(f"key {made.key} for {name}: {_allows(made)}; keep what follows, it is not stored")
        print(text)

    with reported():
        lifetime_s = _lifetime_s(expires)
        with_client(url, act)


@key.command("list")
def list_all(
    output_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    url: Url = None,
) -> None:
    """Show every key, and how often it was used today."""

    async def act(client: Client) -> None:
        keys, used = await client.keys.list(), await client.keys.used_today()
        if output_json:
            documents = [{**_document(each), "used_today": used.get(each.key, 0)} for each in keys]
            print(msgspec.json.encode(documents).decode())
        elif keys:
            table_console().print(_table(keys, used))
        else:
            say("no keys: HTTP and gRPC are open to whoever reaches them")

    with_client(url, act)


@key.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], url: Url = None) -> None:
    """Let nobody in with this key any more."""

    async def act(client: Client) -> None:
        await client.keys.revoke(key_id)
        print(f"{key_id} revoked")
        if not await client.keys.list():
            say(
                "that was the last key: HTTP and gRPC are open again to calls and to looking, and to changes once a "
                "gateway starts anew; gateways with FASTGSHARE_REQUIRE_KEYS=true stay closed"
            )

    with_client(url, act)


@key.command()
def limits(
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    rate: Rate = None,
    burst: Burst = None,
    per_day: PerDay = None,
    url: Url = None,
) -> None:
    """Change what is given of a key's limits."""
    given = {"rate_rps": rate, "burst": burst, "per_day": per_day}
    changes = {name: value for name, value in given.items() if value is not None}
    if rate == 0:  # what may pass at once is a matter of the rate
        changes.setdefault("burst", 0)

    async def act(client: Client) -> None:
        changed = await client.keys.limit(key_id, lambda old: replace(old, **changes))
        print(f"{key_id}: {_limits(changed)}")

    with reported():
        if not changes:
            raise Usage(problem="give at least one of --rate, --burst and --per-day")
        with_client(url, act)


def _lifetime_s(text: str | None) -> float:
    if text is None:
        return 0.0
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise Usage(problem=f"--expires is '{text}', expected a number with m, h or d, as 30d")
    return int(match[1]) * _SECONDS[match[2]]


def _table(keys: list[ApiKey], used: dict[KeyId, int]) -> Table:
    table = Table(box=None, header_style="bold")
    for title in ("id", "name", "allows", "limits", "used today", "expires"):
        table.add_column(title)
    for each in keys:
        expires = _day(each.expires_us) if each.expires_us else "never"
        table.add_row(each.key, each.name, _allows(each), _limits(each), str(used.get(each.key, 0)), expires)
    return table


def _document(each: ApiKey) -> dict[str, object]:
    document: dict[str, object] = msgspec.to_builtins(each)
    del document["digest"]
    return document


def _allows(each: ApiKey) -> str:
    return f"{', '.join(each.scopes)} on {', '.join(each.functions) or 'all functions'}"


def _limits(each: ApiKey) -> str:
    limits = each.limits
    told = []
    if limits.rate_rps:
        told.append(f"{limits.rate_rps:g}/s" + (f", {limits.burst} at once" if limits.burst else ""))
    if limits.per_day:
        told.append(f"{limits.per_day} a day")
    return ", ".join(told) or "none"


def _day(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / US_PER_S, UTC).strftime("%Y-%m-%d %H:%M UTC")
