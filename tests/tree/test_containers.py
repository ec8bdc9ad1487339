"""Images and compose files are as confined as they say, and fit the code; no container engine is asked."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastgshare.gateway.config import GatewayConfig
from fastgshare.node_manager.config import NodeConfig
from fastgshare.profiler.config import ProfilerConfig
from fastgshare.scheduler.config import SchedulerConfig
from fastgshare.shared.config import variable_for
from fastgshare.shared.provision import ProvisionConfig
from fastgshare.shared.rights import RIGHTS
from fastgshare.shared.service import HealthConfig
from scripts.nats_users import USERS

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "cli/Dockerfile", *sorted(ROOT.glob("services/*/Dockerfile")), ROOT / "compose/nats/Dockerfile"]
COMPOSE = [ROOT / "compose.yaml", *sorted(ROOT.glob("compose.*.yaml")), ROOT / "compose/observability.yaml"]
CORE = yaml.safe_load((ROOT / "compose.yaml").read_text())
LOCKS = sorted((ROOT / "requirements/images").glob("*.lock"))
CONFIGS = {
    "gateway": GatewayConfig,
    "scheduler": SchedulerConfig,
    "profiler": ProfilerConfig,
    "node": NodeConfig,
    "provision": ProvisionConfig,
}
NOT_IN_CONFIGS = {"FASTGSHARE_METRICS_PORT", "FASTGSHARE_METRICS_HOST", "FASTGSHARE_GRPC_HOST"}
UID = "10001:10001"
INSTRUCTION = re.compile(r"^([A-Z]+) (.*)$", re.MULTILINE)

each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
each_compose = pytest.mark.parametrize("file", COMPOSE, ids=lambda path: path.name)
each_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    return INSTRUCTION.findall(dockerfile.read_text().replace("\\\n", " "))


def in_git(path: str) -> bool:
    """Whether a fresh clone has it; a file here may be one that git was told to ignore."""
    command = ["git", "ls-files", "--cached", "--", path]
    return bool(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout)


def services(file: Path) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(file.read_text())["services"])


def pinned(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def variables(service: str) -> Iterator[str]:
    """What compose and the image set for it."""
    yield from (name for name in CORE["services"][service]["environment"] if name.startswith("FASTGSHARE_"))
    dockerfile = CORE["services"][service].get("build", {}).get("dockerfile", "services/scheduler/Dockerfile")
    yield from re.findall(r"FASTGSHARE_[A-Z_]+(?==)", (ROOT / dockerfile).read_text())


@each_dockerfile
def test_an_image_is_built_in_stages_on_a_named_base(dockerfile: Path) -> None:
    froms = [value for name, value in instructions(dockerfile) if name == "FROM"]
    assert froms == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    assert ("ARG", "PYTHON_IMAGE=python:3.11-slim") in instructions(dockerfile)


def test_what_the_images_of_services_share_is_the_same_in_each() -> None:
    """Docker includes no file in another, so it stands in each."""

    def shared(dockerfile: Path) -> list[str]:
        name = dockerfile.parent.name
        lines = [f"{what} {value}" for what, value in instructions(dockerfile)]
        alike = [line.replace("${LOCK}", name).replace(name, "NAME") for line in lines]
        return [line for line in alike if not line.startswith(("ARG LOCK", "ENV", "EXPOSE", "RUN mkdir"))]

    first, *others = [shared(dockerfile) for dockerfile in sorted(ROOT.glob("services/*/Dockerfile"))]
    assert len(first) > 10
    assert all(other == first for other in others)


@each_dockerfile
def test_an_image_runs_as_nobody_in_particular_and_says_how_it_is(dockerfile: Path) -> None:
    names = [name for name, _ in instructions(dockerfile)]
    assert ("USER", UID) in instructions(dockerfile)
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "HEALTHCHECK" in names
    assert "ADD" not in names


@each_dockerfile
def test_what_an_image_copies_is_there_and_let_into_the_context(dockerfile: Path) -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name, value in instructions(dockerfile):
        if name == "COPY" and not value.startswith("--from"):
            for source in value.replace("${LOCK}", "node_manager").split()[:-1]:
                assert in_git(source), source
                assert any(source == part or source.startswith(f"{part}/") for part in allowed), source


@each_compose
def test_every_image_has_a_version(file: Path) -> None:
    for name, service in services(file).items():
        if "image" in service:
            repository, _, tag = service["image"].partition(":")
            assert repository, name
            assert tag, name
            assert "latest" not in tag, name


@each_compose
def test_whatever_is_started_writes_nowhere_and_may_do_nothing(file: Path) -> None:
    for name, service in services(file).items():
        if "image" in service and file.name != "compose.gpu.yaml":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert {"max-size", "max-file"} <= service["logging"]["options"].keys(), name


@each_compose
def test_named_volumes_are_declared(file: Path) -> None:
    declared = set(yaml.safe_load(file.read_text()).get("volumes", {})) | set(CORE["volumes"])
    for service in services(file).values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source.startswith(("/", ".")) or source in declared, source


@pytest.mark.parametrize("service", CONFIGS)
def test_every_setting_is_one_of_the_services_own(service: str) -> None:
    known = {variable_for(field) for field in (*CONFIGS[service].__struct_fields__, *HealthConfig.__struct_fields__)}
    instance = {"FASTGSHARE_INSTANCE"} if service == "provision" else set()
    assert set(variables(service)) - NOT_IN_CONFIGS - instance <= known


@pytest.mark.parametrize("service", ["gateway", "scheduler", "profiler", "node", "provision"])
def test_a_service_has_its_own_users_password_and_no_others(service: str) -> None:
    composed = CORE["services"][service]
    mounted = [volume for volume in composed["volumes"] if volume.startswith("credentials")]
    assert mounted == [f"credentials-{service}:/run/credentials:ro"]
    assert composed["environment"]["FASTGSHARE_NATS_URL"] == f"nats://{service}@nats:4222"


def test_the_servers_of_a_cluster_have_volumes_that_one_server_alone_has_not() -> None:
    composed = services(ROOT / "compose.cluster.yaml")
    kept = [kept_in(composed[server]) for server in ("nats", "nats-2", "nats-3")]
    assert len({*kept, kept_in(CORE["services"]["nats"])}) == 4


def kept_in(server: dict[str, Any]) -> str:
    """The volume of a server's store."""
    return str({volume.partition(":")[2]: volume.partition(":")[0] for volume in server["volumes"]}["/data"])


def test_what_one_server_kept_is_not_taken_into_a_cluster(tmp_path: Path) -> None:
    start = script("start")
    assert start.is_of_one_server(tmp_path) is False
    stream = tmp_path / "$G/streams/KV_functions"
    stream.mkdir(parents=True)
    (stream / "meta.inf").touch()
    assert start.is_of_one_server(tmp_path) is True
    (tmp_path / "$SYS/_js_/_meta_").mkdir(parents=True)
    assert start.is_of_one_server(tmp_path) is False


@pytest.mark.parametrize("given", ["p\u00e4ss", "two words", "tab\there"])
def test_a_password_that_the_server_cannot_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    credentials = script("credentials")
    monkeypatch.setenv("FASTGSHARE_ADMIN_PASSWORD", given)
    with pytest.raises(SystemExit, match="FASTGSHARE_ADMIN_PASSWORD"):
        credentials.password_of("admin", tmp_path / "password")
    assert not (tmp_path / "password").exists()
    monkeypatch.setenv("FASTGSHARE_ADMIN_PASSWORD", ' a"b\\c$ \n')
    assert credentials.password_of("admin", tmp_path / "password") == 'a"b\\c$'
    assert (tmp_path / "password").read_text() == 'a"b\\c$'


def script(name: str) -> Any:
    """A program of the image of the bus, which is no package."""
    spec = importlib.util.spec_from_file_location(f"compose_nats_{name}", ROOT / f"compose/nats/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_head_of_the_file_offers_is_passed_on() -> None:
    head, _, body = (ROOT / "compose.yaml").read_text().partition("name: fastgshare")
    assert not [name for name in re.findall(r"[A-Z]+_[A-Z_]+[A-Z]", head) if f"${{{name}" not in body]


def test_passwords_are_made_for_the_users_that_there_are() -> None:
    code = (ROOT / "compose/nats/credentials.py").read_text()
    (listed,) = re.findall(r"^USERS = \((.*)\)$", code, re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', listed)) == set(RIGHTS)
    assert set(re.findall(r"user: (\w+)", USERS.read_text())) == set(RIGHTS)
    folders = {volume.partition(":")[0] for volume in CORE["services"]["credentials"]["volumes"]}
    assert folders == {f"credentials-{user}" for user in (*RIGHTS, "nats")}


@each_lock
def test_an_images_packages_are_those_that_are_tested_and_each_has_a_hash(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    if lock.name not in ("build.lock", "node_manager_cuda.lock"):
        tested = pinned(ROOT / "requirements/run.lock")
        for name, versions in pinned(lock).items():
            assert versions <= tested[name], name
