"""A process has one name, for spans as for metrics, and the environment's word for it comes first."""

import pytest
from opentelemetry.sdk.resources import Resource

from fastgshare.shared.telemetry.resources import resource_attributes

NAME, INSTANCE = "service.name", "service.instance.id"
ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({}, {NAME: "gateway", INSTANCE: "g", "service.version": "1", "service.namespace": "fastgshare"}),
        ({"OTEL_SERVICE_NAME": "door"}, {NAME: "door", INSTANCE: "g"}),
        ({ATTRIBUTES: "service.name=door, service.instance.id=a%20b,x=y"}, {NAME: "door", INSTANCE: "a b", "x": "y"}),
        ({ATTRIBUTES: "service.name=other", "OTEL_SERVICE_NAME": "door"}, {NAME: "door"}),
        ({ATTRIBUTES: "nonsense,=,service.name="}, {NAME: "gateway"}),
    ],
)
def test_the_environment_comes_first(
    env: dict[str, str], told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    attributes = resource_attributes("gateway", "g", "1", env)
    assert attributes.items() >= told.items()
    assert Resource.create(dict(attributes)).attributes.items() >= told.items(), "the SDK agrees"
