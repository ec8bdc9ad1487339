"""Settings from the environment: defaults, refusals that name the variable, and the way to a child process."""

import msgspec
import pytest

from fastgshare.shared.config import check_name, load_config, to_env
from fastgshare.shared.errors import InvalidConfig


class Settings(msgspec.Struct, frozen=True):
    url: str
    port: int = 4222
    share: float = 0.5
    eager: bool = False
    cores: int | None = None
    mode: str = "auto"


def test_missing_variables_take_defaults_and_foreign_ones_are_ignored() -> None:
    env = {"FASTGSHARE_URL": "nats://here", "FASTGSHARE_UNKNOWN": "1", "PORT": "1", "fastgshare_port": "2"}
    assert load_config(Settings, env) == Settings(url="nats://here")


def test_values_are_read_as_their_types() -> None:
    env = {
        "FASTGSHARE_URL": "5",
        "FASTGSHARE_PORT": "4333",
        "FASTGSHARE_SHARE": "1",
        "FASTGSHARE_EAGER": "true",
        "FASTGSHARE_CORES": "2",
    }
    assert load_config(Settings, env) == Settings("5", 4333, 1.0, True, 2)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FASTGSHARE_PORT", "many"),
        ("FASTGSHARE_PORT", ""),
        ("FASTGSHARE_PORT", "1.5"),
        ("FASTGSHARE_SHARE", "half"),
        ("FASTGSHARE_EAGER", "perhaps"),
        ("FASTGSHARE_CORES", "two"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(Settings, {"FASTGSHARE_URL": "nats://here", variable: value})
    assert caught.value.fields["setting"] == variable
    assert caught.value.fields["value"] == value
    assert "Expected" in str(caught.value.fields["expected"])


def test_a_setting_without_default_that_is_missing_is_refused_by_name() -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(Settings, {"FASTGSHARE_PORT": "1"})
    assert caught.value.fields["setting"] == "FASTGSHARE_URL"


@pytest.mark.parametrize(
    "settings", [Settings("a"), Settings("b", 1, 0.25, True, 3, "x"), Settings("", -1, 1e-9, False, 0, " ")]
)
def test_a_child_reads_what_its_parent_wrote(settings: Settings) -> None:
    assert load_config(Settings, to_env(settings)) == settings


@pytest.mark.parametrize("value", ["", "a b", "a.b", "Gateway", "*", "x" * 64])
def test_a_setting_that_becomes_part_of_subjects_has_to_be_a_name(value: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        check_name("instance", value)
    assert caught.value.fields["setting"] == "FASTGSHARE_INSTANCE"
    assert caught.value.fields["value"] == value
    check_name("instance", "gateway-0")
