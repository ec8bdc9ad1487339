"""Settings come from the environment, one variable a field, into a frozen struct.

`FASTGSHARE_` + the field's name in capitals; a missing variable takes the default, a bad one is refused by name.
"""

import re
import socket
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.ids import NAME_PATTERN, is_name
from fastgshare.shared.typed import convert

ENV_PREFIX = "FASTGSHARE_"

C = TypeVar("C", bound=msgspec.Struct)


def variable_for(field: str) -> str:
    """The environment variable that sets `field`."""
    return ENV_PREFIX + field.upper()


def load_config(kind: type[C], env: Mapping[str, str]) -> C:
    """Build `kind` from `env`.

    Raises:
        InvalidConfig: a variable's value does not fit its field's type, or one without default is missing.
    """
    values = {
        field.name: env[variable_for(field.name)]
        for field in msgspec.structs.fields(kind)
        if variable_for(field.name) in env
    }
    for field in msgspec.structs.fields(kind):
        if field.name in values:
            _check_one(field, values[field.name])
        elif field.required:
            raise InvalidConfig(setting=variable_for(field.name), value=None, expected="to be set")
    return convert(kind, values, strict=False)


def check_name(field: str, value: str) -> None:
    """Raises InvalidConfig unless `value` fits into subjects and keys, as the setting `field` has to."""
    if not is_name(value):
        raise InvalidConfig(setting=variable_for(field), value=value, expected=f"to match {NAME_PATTERN.pattern}")


def host_name() -> str:
    """The host's name, or the container's, as a name on the bus; empty if nothing of it can be one."""
    name = socket.gethostname().partition(".")[0].lower()
    return re.sub(r"[^a-z0-9_-]+", "-", name).strip("-_")[:63]


def to_env(config: msgspec.Struct) -> dict[str, str]:
    """The environment that `load_config` turns back into `config`; how a parent configures a child process."""
    return {
        variable_for(field.name): str(value)
        for field in msgspec.structs.fields(config)
        if (value := getattr(config, field.name)) is not None
    }


def _check_one(field: msgspec.structs.FieldInfo, value: str) -> None:
    try:
        convert(field.type, value, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidConfig(setting=variable_for(field.name), value=value, expected=str(error)) from error
