"""Which server a client turns to."""

from pathlib import Path

from fastgshare.client.location import data_directory, endpoints, nats_url


def test_the_data_directory_follows_its_variable_then_xdg_then_home(tmp_path: Path) -> None:
    env = {"FASTGSHARE_DATA_DIR": str(tmp_path), "XDG_DATA_HOME": "/data"}
    assert data_directory(env) == tmp_path
    assert data_directory({"XDG_DATA_HOME": "/data"}) == Path("/data/fastgshare")
    assert data_directory({}) == Path.home() / ".local/share/fastgshare"


def test_an_argument_beats_the_variable_beats_what_runs_here(tmp_path: Path) -> None:
    env = {"FASTGSHARE_DATA_DIR": str(tmp_path)}
    assert nats_url(None, env) == "nats://127.0.0.1:4222"
    (tmp_path / "endpoints.json").write_text('{"nats_url": "nats://here:1", "http_url": "http://here:2"}')
    assert nats_url(None, env) == "nats://here:1"
    env["FASTGSHARE_NATS_URL"] = "nats://variable:1"
    assert nats_url(None, env) == "nats://variable:1"
    assert nats_url("nats://argument:1", env) == "nats://argument:1"


def test_a_broken_endpoints_file_counts_as_none(tmp_path: Path) -> None:
    env = {"FASTGSHARE_DATA_DIR": str(tmp_path)}
    for content in ("", "{", "[]", '"x"'):
        (tmp_path / "endpoints.json").write_text(content)
        assert endpoints(env) == {}
