"""`fastgshare key` as people meet it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fastgshare.cli.app import app
from fastgshare.shared.bus import BusConfig, open_bus
from fastgshare.shared.storage import ensure_storage
from tests.natsd import Natsd


@pytest.fixture(autouse=True)
async def _storage(nats: Natsd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGSHARE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FASTGSHARE_NATS_URL", nats.url)
    async with open_bus(BusConfig(nats.url, "test")) as bus:
        await ensure_storage(bus)


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["key", *args])


def test_a_key_is_made_listed_limited_and_revoked() -> None:
    assert "no keys" in run("list").stderr
    made = run("create", "team a", "--function", "echo", "--rate", "5", "--per-day", "100", "--expires", "30d")
    assert made.exit_code == 0, made.stderr
    text = made.stdout.strip()
    key_id = text.split("_")[1]
    assert f"key {key_id} for team a: invoke on echo" in made.stderr
    (told,) = json.loads(run("list", "--json").stdout)
    assert (told["key"], told["name"], told["used_today"]) == (key_id, "team a", 0)
    assert told["limits"] == {"rate_rps": 5.0, "burst": 0, "per_day": 100}
    assert "digest" not in told
    assert run("limits", key_id, "--rate", "2.5", "--burst", "9").stdout == f"{key_id}: 2.5/s, 9 at once, 100 a day\n"
    listed = run("list").stdout
    assert key_id in listed
    assert text.split("_")[2] not in listed
    revoked = run("revoke", key_id)
    assert revoked.stdout == f"{key_id} revoked\n"
    assert "open again" in revoked.stderr


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["create", "a", "--expires", "soon"], 2, "expected a number with m, h or d"),
        (["create", "a", "--burst", "3"], 2, "burst needs a rate"),
        (["limits", "0a1b2c3d4e5f"], 2, "give at least one of"),
        (["limits", "0a1b2c3d4e5f", "--rate", "1"], 1, "no API key has the id '0a1b2c3d4e5f'"),
        (["revoke", "nonsense.>"], 1, "no API key has the id"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(args: list[str], status: int, said: str) -> None:
    result = run(*args)
    assert result.exit_code == status
    assert said in result.stderr
