"""Child processes that never outlive their parent, whatever ends it.

Linux sends the child a signal when the thread that made it dies (`PR_SET_PDEATHSIG`, prctl(2)); nothing else covers
`kill -9` of the parent without the child's help.
"""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, sig: signal.Signals = signal.SIGKILL) -> None:
    """Run in the child: ask for `sig` when the parent dies; exit at once if it is dead already."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)
