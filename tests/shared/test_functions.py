"""Which function definitions may stand, and when a change needs new replicas."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastgshare.shared.functions import next_spec, problems_with
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import Autoscale, FunctionSpec, HandlerRef, ModelRef, Slice

DIGEST = Digest("ab" * 32)
GOOD = FunctionSpec(
    name=FunctionName("magika"),
    model=ModelRef(digest=DIGEST, size_bytes=7),
    handler=HandlerRef(digest=DIGEST, module="handler.py", class_name="FileType"),
)


def test_the_defaults_have_no_problems() -> None:
    assert problems_with(GOOD) == []


def test_a_torch_model_has_a_factory() -> None:
    assert (
        problems_with(replace(GOOD, model=ModelRef(digest=DIGEST, size_bytes=7, format="torch", factory="a:b"))) == []
    )


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (replace(GOOD, name=FunctionName("Magika!")), "name is 'Magika!', expected lower-case letters"),
        (
            replace(GOOD, model=ModelRef(digest=Digest("xyz"), size_bytes=7)),
            "model.digest is 'xyz', expected a SHA-256",
        ),
        (
            replace(GOOD, model=ModelRef(digest=DIGEST, size_bytes=7, format="pickle")),
            "model.format is 'pickle', expected one of onnx",
        ),
        (
            replace(GOOD, model=ModelRef(digest=DIGEST, size_bytes=7, format="torch", factory="model.make")),
            "model.factory is 'model.make', expected module:name such as model:make",
        ),
        (
            replace(GOOD, model=ModelRef(digest=DIGEST, size_bytes=7, format="torch_export", factory="model:make")),
            "model.factory is 'model:make', expected none: format torch_export carries no code",
        ),
        (
            replace(GOOD, handler=HandlerRef(digest=DIGEST, module="../x.py", class_name="A")),
            "handler.module is '../x.py', expected a Python file name",
        ),
        (
            replace(GOOD, handler=HandlerRef(digest=DIGEST, module="x.py", class_name="A B")),
            "handler.class_name is 'A B', expected the name of a class",
        ),
        (replace(GOOD, slo_ms=0), "slo_ms is 0, expected above 0"),
        (replace(GOOD, slo_ms=math.nan), "slo_ms is nan, expected above 0"),
        (replace(GOOD, slo_ms=math.inf), "slo_ms is inf, expected above 0"),
        (replace(GOOD, slo_percentile=101), "slo_percentile is 101, expected above 0 and at most 100"),
        (replace(GOOD, max_batch=0), "max_batch is 0, expected 1 to 1024"),
        (replace(GOOD, max_batch=1025), "max_batch is 1025, expected 1 to 1024"),
        (replace(GOOD, replicas=None), "neither of replicas and autoscale given"),
        (replace(GOOD, autoscale=Autoscale()), "both of replicas and autoscale given"),
        (replace(GOOD, replicas=-1), "replicas is -1, expected 0 to 1000"),
        (
            replace(GOOD, replicas=None, autoscale=Autoscale(min=3, max=2)),
            "autoscale is min 3, max 2, expected 0 <= min <= max",
        ),
        (
            replace(GOOD, replicas=None, autoscale=Autoscale(policy="best")),
            "autoscale.policy is 'best', expected one of fixed, objective, paper, time_sharing, exclusive",
        ),
        (replace(GOOD, slice=Slice(sm_partition=101)), "slice.sm_partition is 101, expected 1 to 100"),
        (replace(GOOD, slice=Slice(quota_request=0)), "slice.quota_request is 0, expected above 0"),
        (
            replace(GOOD, slice=Slice(quota_request=0.6, quota_limit=0.5)),
            "slice.quota_request is 0.6, expected at most quota_limit, 0.5",
        ),
        (replace(GOOD, slice=Slice(gpu_mem_mib=0)), "slice.gpu_mem_mib is 0, expected at least 1"),
        (replace(GOOD, sample=Digest("1")), "sample is '1', expected a SHA-256"),
        (replace(GOOD, labels={"a": "b" * 300}), "labels holds a text of 300 characters"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected(bad: FunctionSpec, sentence: str) -> None:
    problems = problems_with(bad)
    assert len(problems) == 1
    assert problems[0].startswith(sentence)


def test_all_problems_are_told_at_once() -> None:
    assert len(problems_with(replace(GOOD, slo_ms=-1, max_batch=0, replicas=None))) == 3


IN_PLACE = [
    replace(GOOD, replicas=4),
    replace(GOOD, replicas=None, autoscale=Autoscale(min=0, max=2)),
    replace(GOOD, labels={"team": "vision"}),
    replace(GOOD, sample=DIGEST),
    replace(GOOD, slice=replace(GOOD.slice, quota_request=0.1, quota_limit=0.2)),
    replace(GOOD, generation=99),
]
REBUILD = [
    replace(GOOD, model=ModelRef(digest=Digest("cd" * 32), size_bytes=7)),
    replace(GOOD, handler=None),
    replace(GOOD, max_batch=1),
    replace(GOOD, slice=Slice(sm_partition=25)),
    replace(GOOD, slo_ms=5.0),
    replace(GOOD, slo_percentile=95.0),
]


@pytest.mark.parametrize("wanted", IN_PLACE)
def test_what_replicas_take_on_in_place_keeps_the_generation(wanted: FunctionSpec) -> None:
    old = replace(GOOD, generation=3)
    assert next_spec(old, wanted) == replace(wanted, generation=3)


@pytest.mark.parametrize("wanted", REBUILD)
def test_what_needs_new_replicas_is_the_next_generation(wanted: FunctionSpec) -> None:
    old = replace(GOOD, generation=3)
    assert next_spec(old, wanted) == replace(wanted, generation=4)


def test_a_new_function_starts_where_its_name_left_off() -> None:
    assert next_spec(None, GOOD).generation == 1
    assert next_spec(None, GOOD, first_generation=12).generation == 12


@given(st.lists(st.sampled_from(IN_PLACE + REBUILD + [GOOD]), max_size=20))
def test_generations_never_fall_and_never_outrun_the_writes(specs: list[FunctionSpec]) -> None:
    old: FunctionSpec | None = None
    for writes, wanted in enumerate(specs, start=1):
        stored = next_spec(old, wanted)
        assert (old.generation if old else 1) <= stored.generation <= writes
        old = stored
