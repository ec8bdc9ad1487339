"""What a child that runs somebody else's code sees of its parent's environment: what programs need, and nothing that
the parent was trusted with."""

import os

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
# Few cores a child: the thread pools of numeric libraries would only get in each other's way.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")


def passed_on() -> dict[str, str]:
    """The part of this process's environment that is nobody's secret."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def one_thread() -> dict[str, str]:
    """Settings that keep numeric libraries from making threads of their own."""
    return dict.fromkeys(ONE_THREAD, "1")
