"""The gate's verdicts on products that are right, rounded, and wrong."""

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="the device is called through cuda-bindings, which is missing here")

from fastgshare.node_manager.devices.cuda.errors import CudaSticky
from fastgshare.node_manager.devices.cuda.gate import LARGEST_ERROR, Matrix, judge, operands, relative_error
from fastgshare.node_manager.devices.cuda.partitions import Partitions, PartitionStream, split_device
from tests.node_manager.devices.cuda.copying import right_product
from tests.node_manager.devices.cuda.stub import Stub


def rounded_to_bf16(product: Matrix) -> Matrix:
    halves = (product.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
    return halves.view(np.float32)


def test_the_operands_are_bf16_numbers() -> None:
    for side in operands():
        np.testing.assert_array_equal(side, rounded_to_bf16(side))


def test_a_product_rounded_to_bf16_passes_with_room() -> None:
    assert 0 < relative_error(rounded_to_bf16(right_product()), right_product()) < LARGEST_ERROR / 2


@pytest.mark.parametrize("wrong", ["one tile", "scaled", "infinite", "another shape"])
def test_a_wrong_product_is_found_wherever_it_is_wrong(wrong: str) -> None:
    product = right_product().copy()
    if wrong == "one tile":
        product[384:512, 896:1024] = 0
    elif wrong == "scaled":
        product *= 0.1
    elif wrong == "infinite":
        product[3, 3] = np.nan
    else:
        product = product[1:]
    assert relative_error(product, right_product()) > 0.5


def places(stub: Stub, count: int) -> list[PartitionStream]:
    from fastgshare.node_manager.devices.cuda import driver

    driver.initialise()
    device = driver.device(0)
    driver.set_current(driver.retain_primary(device))
    partitions = Partitions(device, split_device(device))
    return [partitions.open_stream(tuple(range(chunks + 1))) for chunks in range(count)]


def test_a_count_whose_product_raises_is_refused_with_the_words(stub: Stub) -> None:
    def gemm(place: PartitionStream, a: Matrix, b: Matrix) -> Matrix:
        if place.sms == 16:
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")
        return right_product()

    verdicts = judge(iter(places(stub, 3)), gemm)
    assert [(verdict.sms, verdict.passed) for verdict in verdicts] == [(8, True), (16, False), (24, True)]
    assert "16 SMs" in verdicts[1].reason
    assert "CUBLAS_STATUS_NOT_SUPPORTED" in verdicts[1].reason
    assert stub.count("contexts") == 0


def test_a_device_lost_at_the_gate_ends_it(stub: Stub) -> None:
    def gemm(place: PartitionStream, a: Matrix, b: Matrix) -> Matrix:
        raise CudaSticky(call="cuStreamSynchronize", code=719, name="CUDA_ERROR_LAUNCH_FAILED")

    with pytest.raises(CudaSticky):
        judge(iter(places(stub, 1)), gemm)
