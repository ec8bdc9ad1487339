"""Who spans and metrics speak of, by OpenTelemetry's conventions: one way to name a process for both of them. Pure.

What the environment says comes first: `OTEL_SERVICE_NAME`, then `OTEL_RESOURCE_ATTRIBUTES` (`key=value,...`, values
percent-encoded).
"""

from collections.abc import Mapping
from urllib.parse import unquote

NAMESPACE = "fastgshare"
NAME = "service.name"


def resource_attributes(service: str, instance: str, version: str, env: Mapping[str, str]) -> dict[str, str]:
    """The attributes of this process, which is an `instance` of `service`."""
    own = {
        NAME: service,
        "service.namespace": NAMESPACE,
        "service.instance.id": instance,
        "service.version": version,
    }
    told = dict(_told(env.get("OTEL_RESOURCE_ATTRIBUTES", "")))
    if name := env.get("OTEL_SERVICE_NAME"):
        told[NAME] = name
    return own | told


def _told(text: str) -> list[tuple[str, str]]:
    pairs = (item.partition("=") for item in text.split(","))
    return [(key.strip(), unquote(value.strip())) for key, _, value in pairs if key.strip() and value.strip()]
