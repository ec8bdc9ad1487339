"""`make test-compose`: the images and compose files as they are shipped, on a real container engine.

One platform for all tests, in order; each leaves it whole. Sizes and times are printed, not judged.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from examples.demo.inputs import Example, all_examples
from tests.compose.engine import ROOT, Composed, composed, image_bytes
from tests.compose.load import client_of, under_load

# While a server is away the engine's proxy answers for it and hangs up: nats-py forgets to close what it opened then.
pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]
SERVICES = {"nats": 1, "gateway": 1, "scheduler": 1, "profiler": 1, "node": 2}
FUNCTIONS = ("filetype", "ocr", "textdir")
USER = "10001:10001"
EACH = 12


@pytest.fixture(scope="module")
def platform() -> Iterator[Composed]:
    with composed("fastgshare-test", "compose.yaml") as project:
        took_s = project.up()
        print(f"\ncompose_up_s {took_s:.1f}")
        yield project


@pytest.fixture(scope="module")
def examples() -> dict[str, list[Example]]:
    return all_examples(ROOT, seed=1, lines=EACH)


def test_everything_is_healthy_and_confined(platform: Composed) -> None:
    for service, count in SERVICES.items():
        containers = platform.ids(service)
        assert len(containers) == count
        for container in containers:
            found = platform.inspect(container)
            host = found["HostConfig"]
            assert found["State"]["Health"]["Status"] == "healthy"
            assert found["Config"]["User"] == USER
            assert host["ReadonlyRootfs"] is True
            assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], None)
            assert "no-new-privileges:true" in host["SecurityOpt"]
            assert platform.inside(container, "id", "-u").strip() == USER.partition(":")[0]
            written = platform.inside(container, "sh", "-c", "touch /opt/x /etc/x 2>&1 || echo refused")
            assert "refused" in written


def test_images_are_of_a_size(platform: Composed) -> None:
    for service in SERVICES:
        size, own = image_bytes(platform.inspect(platform.ids(service)[0])["Image"])
        print(f"{service}: {size / 1e6:.0f} MB, {own / 1e6:.0f} MB of them on top of the base image")
        assert own < 250e6


def test_nobody_sees_anothers_password(platform: Composed) -> None:
    seen = {user: platform.password(user) for user in ("gateway", "scheduler", "profiler", "node", "client", "admin")}
    assert len(set(seen.values())) == len(seen)
    for service in ("gateway", "scheduler", "profiler", "node"):
        container = platform.ids(service)[0]
        assert platform.inside(container, "cat", "/run/credentials/password") == seen[service]
        assert platform.inside(container, "ls", "/run/credentials").split() == ["password"]
        assert not any(password in str(platform.inspect(container)) for password in seen.values())


def test_gateway_and_nodes_share_memory(platform: Composed) -> None:
    code = "from fastgshare.shared.slots import host_id; print(host_id())"
    hosts = {
        platform.inside(found, "python", "-c", code) for name in ("gateway", "node") for found in platform.ids(name)
    }
    assert len(hosts) == 1


def test_the_command_deploys_a_function_whose_model_is_in_a_wheel(platform: Composed) -> None:
    """The first example of docs/how-to/containers.md, as a user types it; needs a package index."""
    authority = os.environ.get("BUILD_CA")
    signed = ("-v", f"{authority}:/ca.pem:ro", "-e", "PIP_CERT=/ca.pem") if authority else ()
    definition = f"examples/functions/{FUNCTIONS[0]}/function.yaml"
    platform.run("run", "--rm", "-T", *signed, "cli", "deploy", definition, timeout_s=300)


async def test_the_demos_functions_answer_rightly(
    platform: Composed, examples: dict[str, list[Example]], tmp_path: Path
) -> None:
    async with client_of(platform, tmp_path) as client:
        for name in FUNCTIONS[1:]:
            await client.deploy(ROOT / "examples" / "functions" / name / "function.yaml", timeout_s=300)
        for name in FUNCTIONS:
            for example in examples[name][:EACH]:
                result = await client.invoke(name, example.inputs, timeout_s=120)
                assert example.is_right(result.outputs), example.name


async def test_http_is_published(platform: Composed) -> None:
    url = f"http://{platform.address('gateway', 8080)}"
    document = {
        "inputs": [{"name": "file", "datatype": "BYTES", "shape": [1], "data": ["def main():\n    print(1)\n"]}]
    }
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:
        assert (await http.get("/v2/health/ready")).status_code == 200
        answer = await http.post("/v2/models/filetype/infer", json=document)
        assert answer.json()["outputs"][0]["data"] == ["python"]


@pytest.mark.parametrize("service", ["node", "gateway", "scheduler", "profiler", "nats"])
async def test_a_container_that_dies_comes_back_and_nothing_is_lost(
    platform: Composed, examples: dict[str, list[Example]], tmp_path: Path, service: str
) -> None:
    async with client_of(platform, tmp_path) as client, under_load(client, examples["filetype"]) as load:
        await anyio.to_thread.run_sync(platform.crash, platform.ids(service)[0])
        await load.more()


async def test_a_node_without_a_network_is_done_without_and_taken_back(
    platform: Composed, examples: dict[str, list[Example]], tmp_path: Path
) -> None:
    async with client_of(platform, tmp_path) as client:
        for name in FUNCTIONS[1:]:  # one node on one core has no room for all three
            await client.delete(name)
    async with client_of(platform, tmp_path) as client, under_load(client, examples["filetype"]) as load:
        nodes = platform.ids("node")
        serving = {status.node for status in await client.replicas() if status.function == "filetype"}
        away = next(node for node in nodes if platform.inspect(node)["Config"]["Hostname"] in serving)
        with platform.cut_off(away):
            await load.more()
            await anyio.to_thread.run_sync(
                partial(platform.until, away, lambda state: state["Health"]["Status"] == "unhealthy")
            )
            await load.more()
        await anyio.to_thread.run_sync(
            partial(platform.until, away, lambda state: state["Health"]["Status"] == "healthy")
        )
        await load.more()
        assert len((await client.status()).nodes) == len(nodes)


async def test_more_nodes_each_under_a_name_of_its_own(platform: Composed, tmp_path: Path) -> None:
    platform.up("--scale", "node=3", "--no-recreate")
    async with client_of(platform, tmp_path) as client:
        names = {platform.inspect(node)["Config"]["Hostname"] for node in platform.ids("node")}
        assert len(names) == 3
        assert {str(node.node) for node in (await client.status()).nodes} == names


def test_the_command_has_an_image(platform: Composed) -> None:
    printed = platform.run("run", "--rm", "-T", "cli", "status")
    assert "filetype" in printed
