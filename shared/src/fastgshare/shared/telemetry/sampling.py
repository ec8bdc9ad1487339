"""Which requests are traced from the start. Whoever first meets a request decides, everybody behind it obeys.

A caller's own decision is honoured both ways. OpenTelemetry's variables are read by their standard names; ours stands
before them.
"""

import random
from collections.abc import Mapping

from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.tracing import TraceContext, new_trace, parse_traceparent

DEFAULT_RATIO = 0.01
SAMPLER = "OTEL_TRACES_SAMPLER"
SAMPLER_ARG = "OTEL_TRACES_SAMPLER_ARG"
_PARENT_BASED = "parentbased_"
_FIXED = {"always_on": 1.0, "always_off": 0.0}


class Sampler:
    """Begins or continues the trace of each request; `ratio` of those that are begun here are sampled."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio

    def begin(self, traceparent: str | None) -> TraceContext:
        """This hop's own span of a request that came with `traceparent`; what is unusable counts as none."""
        caller = parse_traceparent(traceparent) if traceparent else None
        if caller is not None:
            return caller.child()
        return new_trace(random.random() < self._ratio)


def sampling_ratio(own: float | None, env: Mapping[str, str]) -> float:
    """The share of requests to sample: `own` setting, else OpenTelemetry's, else one in a hundred.

    Raises:
        InvalidConfig: a value is no share.
    """
    if own is not None:
        return _share("FASTGSHARE_TRACE_RATIO", own)
    fixed = _FIXED.get(env.get(SAMPLER, "").removeprefix(_PARENT_BASED))
    if fixed is not None:
        return fixed
    text = env.get(SAMPLER_ARG)
    if not text:
        return DEFAULT_RATIO
    try:
        return _share(SAMPLER_ARG, float(text))
    except ValueError:
        raise InvalidConfig(setting=SAMPLER_ARG, value=text, expected="a number from 0 to 1") from None


def _share(setting: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise InvalidConfig(setting=setting, value=value, expected="0 to 1")
    return value
