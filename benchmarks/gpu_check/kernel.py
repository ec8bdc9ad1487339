"""A kernel that notes on which SM each block ran, after keeping it busy for a while.

It is PTX, which the driver compiles for whatever GPU there is, so that no compiler has to be installed. It is loaded as
a library, which belongs to no context and therefore runs on every partition's streams.
"""

import ctypes
from typing import Any

import numpy as np
from cuda.bindings import driver as cuda

from fastgshare.node_manager.devices.cuda import driver
from fastgshare.node_manager.devices.cuda.driver import Stream, check

PTX = b"""
.version 6.3
.target sm_75
.address_size 64
.visible .entry where(.param .u64 out, .param .u64 cycles)
{
    .reg .u32 %block, %sm;
    .reg .u64 %to, %limit, %start, %now, %spent, %offset;
    .reg .pred %more;
    ld.param.u64 %to, [out];
    ld.param.u64 %limit, [cycles];
    cvta.to.global.u64 %to, %to;
    mov.u64 %start, %clock64;
SPIN:
    mov.u64 %now, %clock64;
    sub.u64 %spent, %now, %start;
    setp.lt.u64 %more, %spent, %limit;
    @%more bra SPIN;
    mov.u32 %sm, %smid;
    mov.u32 %block, %ctaid.x;
    mul.wide.u32 %offset, %block, 4;
    add.u64 %to, %to, %offset;
    st.global.u32 [%to], %sm;
    ret;
}
\0"""
NOWHERE = 0xFFFFFFFF


class Where:
    """The kernel with room for the notes of `blocks` blocks."""

    def __init__(self, blocks: int) -> None:
        library = check("cuLibraryLoadData", cuda.cuLibraryLoadData(PTX, [], [], 0, [], [], 0))
        kernel = check("cuLibraryGetKernel", cuda.cuLibraryGetKernel(library, b"where"))
        self._function: Any = cuda.CUfunction(int(kernel))
        self._blocks = blocks
        self._notes = driver.allocate(blocks * 4)

    def launch(self, stream: Stream, cycles: int, blocks: int | None = None) -> None:
        """Put it on a stream."""
        arguments = ((self._notes, cycles), (ctypes.c_uint64, ctypes.c_uint64))
        grid = blocks or self._blocks
        check("cuLaunchKernel", cuda.cuLaunchKernel(self._function, grid, 1, 1, 32, 1, 1, 0, stream, arguments, 0))

    def clear(self, stream: Stream) -> None:
        """Forget what was noted."""
        blank = np.full(self._blocks, NOWHERE, np.uint32)
        driver.copy_in(self._notes, blank.ctypes.data, blank.nbytes, stream)
        driver.synchronize(stream)

    def noted(self, stream: Stream) -> set[int]:
        """The SMs of all blocks, once the stream is done."""
        notes = np.empty(self._blocks, np.uint32)
        driver.copy_out(notes.ctypes.data, self._notes, notes.nbytes, stream)
        driver.synchronize(stream)
        return {int(sm) for sm in notes} - {NOWHERE}
