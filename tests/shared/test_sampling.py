"""Who decides what is traced: the caller, our setting, OpenTelemetry's, in this order."""

import pytest

from fastgshare.shared.errors import InvalidConfig
from fastgshare.shared.telemetry.sampling import DEFAULT_RATIO, SAMPLER, SAMPLER_ARG, Sampler, sampling_ratio
from fastgshare.shared.tracing import derived_span, new_trace


@pytest.mark.parametrize("ratio", [0.0, 1.0])
@pytest.mark.parametrize("sampled", [True, False])
def test_a_callers_decision_is_honoured_both_ways(ratio: float, sampled: bool) -> None:
    caller = new_trace(sampled)
    own = Sampler(ratio).begin(caller.header())
    assert (own.trace_id, own.parent_id, own.sampled) == (caller.trace_id, caller.span_id, sampled)
    assert own.span_id != caller.span_id


@pytest.mark.parametrize("traceparent", [None, "", "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_without_a_usable_caller_chance_decides(traceparent: str | None) -> None:
    assert not Sampler(0.0).begin(traceparent).sampled
    own = Sampler(1.0).begin(traceparent)
    assert (own.sampled, own.parent_id) == (True, "")


def test_so_many_are_sampled_as_were_asked_for() -> None:
    sampler = Sampler(0.25)
    assert 1500 < sum(sampler.begin(None).sampled for _ in range(8000)) < 2500


@pytest.mark.parametrize(
    ("own", "env", "ratio"),
    [
        (None, {}, DEFAULT_RATIO),
        (0.5, {SAMPLER_ARG: "0.1", SAMPLER: "always_on"}, 0.5),
        (0.0, {SAMPLER_ARG: "0.1"}, 0.0),
        (None, {SAMPLER_ARG: "0.1"}, 0.1),
        (None, {SAMPLER_ARG: ""}, DEFAULT_RATIO),
        (None, {SAMPLER: "always_on", SAMPLER_ARG: "0.1"}, 1.0),
        (None, {SAMPLER: "parentbased_always_off"}, 0.0),
        (None, {SAMPLER: "parentbased_traceidratio", SAMPLER_ARG: "0.2"}, 0.2),
    ],
)
def test_settings_go_before_each_other(own: float | None, env: dict[str, str], ratio: float) -> None:
    assert sampling_ratio(own, env) == ratio


@pytest.mark.parametrize(
    ("own", "env"), [(1.5, {}), (-0.1, {}), (None, {SAMPLER_ARG: "many"}), (None, {SAMPLER_ARG: "nan"})]
)
def test_what_is_no_share_is_refused_by_name(own: float | None, env: dict[str, str]) -> None:
    with pytest.raises(InvalidConfig):
        sampling_ratio(own, env)


def test_derived_spans_are_the_same_for_everybody_and_differ_from_each_other() -> None:
    span_id = new_trace().span_id
    derived = [derived_span(span_id, number) for number in range(1, 5000)]
    assert derived == [derived_span(span_id, number) for number in range(1, 5000)]
    assert len({span_id, *derived}) == 5000
    assert all(len(one) == 16 and int(one, 16) for one in derived)
