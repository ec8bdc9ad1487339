"""A kind of device is a key of profiles, whatever its maker called it."""

import pytest

from fastgshare.node_manager.devices.kinds import kind_of
from fastgshare.shared.ids import is_name


@pytest.mark.parametrize("model", ["NVIDIA A100-SXM4-80GB", "Tesla (R) T4", "x" * 100, "GeForce RTX™ 4090", "é", ""])
def test_kinds_may_be_part_of_keys(model: str) -> None:
    assert is_name(kind_of("cpu", model))
    assert is_name(kind_of("cuda", model, "132sm"))


def test_a_long_name_does_not_make_two_sizes_of_a_gpu_one_kind() -> None:
    assert kind_of("cuda", "NVIDIA H200", "132sm") == "cuda-nvidia-h200-132sm"
    assert kind_of("cuda", "x" * 100, "132sm") != kind_of("cuda", "x" * 100, "120sm")
