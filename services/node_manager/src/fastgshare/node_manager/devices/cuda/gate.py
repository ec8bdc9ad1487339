"""The start-up gate: one matrix product at every SM count, against the CPU; a count that computes wrong never serves.

Wrong products at some SM counts of a partition were reported on Hopper (BF16, relative error near 0.9), and nothing but
computing shows them. The error is the largest difference over the largest element of the reference.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgshare.node_manager.devices.cuda.errors import CudaSticky
from fastgshare.node_manager.devices.cuda.partitions import PartitionStream

M, K, N = 512, 1024, 1024
LARGEST_ERROR = 1e-2
SEED = 7
_UPPER_HALF = np.uint32(0xFFFF0000)  # a BF16 number is the upper half of an FP32 one

Matrix = npt.NDArray[np.float32]
# The product of two FP32 matrices that hold BF16 numbers, computed in BF16 on that stream.
Gemm = Callable[[PartitionStream, Matrix, Matrix], Matrix]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found at one SM count: the relative error, or why there is none."""

    sms: int
    error: float
    fault: str = ""

    @property
    def passed(self) -> bool:
        """Whether this count may serve."""
        return not self.fault and self.error <= LARGEST_ERROR

    @property
    def reason(self) -> str:
        """Why a count is refused, for the owner of a slice."""
        found = self.fault or f"its relative error is {self.error:.2g}, at most {LARGEST_ERROR:.2g} is accepted"
        return f"{self.sms} SMs failed the start-up matrix product on this GPU: {found}"


def operands() -> tuple[Matrix, Matrix]:
    """Two matrices of BF16 numbers as FP32, the same at every start."""
    generator = np.random.default_rng(SEED)
    a = generator.standard_normal((M, K), dtype=np.float32)
    b = generator.standard_normal((K, N), dtype=np.float32)
    return _bf16(a), _bf16(b)


def relative_error(product: Matrix, reference: Matrix) -> float:
    """Largest difference over largest reference element; infinite for a product that is none."""
    if product.shape != reference.shape or not np.isfinite(product).all():
        return float("inf")
    return float(np.abs(product - reference).max() / np.abs(reference).max())


def judge(places: Iterator[PartitionStream], gemm: Gemm) -> list[Verdict]:
    """A verdict for each place, which is closed after it. Raises CudaSticky: the device is gone."""
    a, b = operands()
    reference = a @ b
    verdicts = []
    for place in places:
        try:
            verdicts.append(Verdict(place.sms, relative_error(gemm(place, a, b), reference)))
        except CudaSticky:
            raise
        except Exception as error:  # whatever the runtime raises, this count cannot compute
            verdicts.append(Verdict(place.sms, float("inf"), " ".join(str(error).split())))
        finally:
            place.close()
    return verdicts


def _bf16(values: Matrix) -> Matrix:
    return (values.view(np.uint32) & _UPPER_HALF).view(np.float32)
