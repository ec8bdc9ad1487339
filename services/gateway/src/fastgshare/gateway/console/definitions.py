"""Definitions as people write them, YAML or JSON, to plain data; what could grow beyond its text is refused.

Read on a thread: a text of the largest size takes some hundred milliseconds, which no request may wait for.
"""

from typing import Any

import anyio
import anyio.to_thread
import yaml

from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.yaml_text import parsed

MAX_TEXT_BYTES = 8 << 10
MAX_BRACKETS = 64
"""A scanner of YAML looks at every open bracket for every token: their number squared is what a text costs."""


async def plain(text: str, one_at_a_time: anyio.CapacityLimiter) -> Any:
    """What `text` holds. Raises InvalidSpec."""
    return await anyio.to_thread.run_sync(_plain, text, limiter=one_at_a_time)


def _plain(text: str) -> Any:
    if (brackets := text.count("[") + text.count("{")) > MAX_BRACKETS:
        raise InvalidSpec([f"{brackets} opening brackets, expected at most {MAX_BRACKETS}"])
    try:
        repeats = any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
    except (yaml.YAMLError, RecursionError):
        return parsed(text)  # which says what is wrong, and where
    if repeats:
        raise InvalidSpec(["an alias (*name) repeats what stands elsewhere, expected everything written out"])
    return parsed(text)
