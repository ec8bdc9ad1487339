"""New quotas stand beside what is kept, or are refused with what to type."""

import pytest

from fastgshare.client.quotas import with_quotas
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import Autoscale, FunctionSpec, ModelRef, Slice

MODEL = ModelRef(digest=Digest("a" * 64), size_bytes=1)
SPEC = FunctionSpec(name=FunctionName("echo"), model=MODEL, replicas=1, slice=Slice(quota_request=0.5))


def test_what_is_not_given_stays() -> None:
    assert with_quotas(SPEC, None, None) == SPEC
    assert with_quotas(SPEC, 0.2, None).slice == Slice(quota_request=0.2)
    assert with_quotas(SPEC, None, 0.5).slice == Slice(quota_request=0.5, quota_limit=0.5)
    assert with_quotas(SPEC, 0.3, 0.3).slice == Slice(quota_request=0.3, quota_limit=0.3)
    assert with_quotas(SPEC, 0.0, None).slice == Slice(quota_request=0.0)  # which the registry refuses


def test_a_limit_below_what_is_promised_is_refused_with_what_to_type() -> None:
    with pytest.raises(InvalidSpec) as caught:
        with_quotas(SPEC, None, 0.3)
    assert str(caught.value) == (
        "quota_limit 0.3 is less than the 0.5 that is promised as quota_request: "
        "lower both, as with --quota-request 0.3 --quota-limit 0.3"
    )


def test_more_than_the_limit_is_refused_with_what_to_type() -> None:
    with pytest.raises(InvalidSpec, match=r"raise both, as with --quota-request 0\.6 --quota-limit 0\.6"):
        with_quotas(with_quotas(SPEC, None, 0.5), 0.6, None)


def test_a_limit_holds_for_what_the_scheduler_chooses_too() -> None:
    scaled = FunctionSpec(
        name=SPEC.name, model=MODEL, slice=SPEC.slice, autoscale=Autoscale(min=1, max=2, policy="objective")
    )
    assert with_quotas(scaled, None, 0.3).slice == Slice(quota_request=0.3, quota_limit=0.3)
    with pytest.raises(InvalidSpec, match="the scheduler's to choose"):
        with_quotas(scaled, 0.3, 0.3)
