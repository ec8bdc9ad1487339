"""What the chart takes from the rest of the tree is there: settings, users, images."""

import re
from pathlib import Path

import msgspec
import pytest

from fastgshare.shared.config import variable_for
from scripts.reference.settings import SERVICES
from tests.chart.rendering import HAS_LIBRARY, HELM, containers, environment, named, render

TREE = Path(__file__).resolve().parents[2]
PROVISIONS = {"FASTGSHARE_STORAGE_REPLICAS", "FASTGSHARE_PATIENCE_S"}

pytestmark = pytest.mark.skipif(not (HELM or HAS_LIBRARY), reason="neither `helm` nor its engine: run `make chart`")


def test_every_variable_is_a_setting() -> None:
    known = {variable_for(field.name) for struct in SERVICES.values() for field in msgspec.structs.fields(struct)}
    for _, _, container in containers(render()):
        given = {name for name in environment(container) if name.startswith("FASTGSHARE_")}
        assert given <= known | PROVISIONS, container["name"]


def test_every_image_is_one_that_compose_builds() -> None:
    built = set(re.findall(r"image: (fastgshare/[\w-]+)", (TREE / "compose.yaml").read_text(encoding="utf-8")))
    assert {container["image"].partition(":")[0] for _, _, container in containers(render())} <= built


def test_every_user_is_one_of_the_bus() -> None:
    text = (TREE / "compose" / "nats" / "users.conf").read_text(encoding="utf-8")
    users = set(re.findall(r"user: ([\w-]+)", text))
    made = set(named(render(), "Secret")["stringData"]) - {"passwords.json"}
    assert made == users
