"""ONNX models through ONNX Runtime, one session for all replicas that compute on the same threads.

ONNX Runtime packs weights anew for every session, three times faster to compute with than unpacked ones, so the only
way to share them is to share the session. A session of one thread computes on whoever calls it: all replicas of one
core share it, wherever their cores are. A session of several threads has a pool that is bound to its cores: replicas on
the same cores, which a token keeps from running at once, share that one. Threads never spin: a spinning thread would
burn the core that another replica's token covers. Each thread has a core of its own, the caller the first: the kernel
would wake all of them on the caller's core after a pause, and two cores were then no faster than one
(docs/decisions/0008).
"""

import os
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.ports import ModelInfo, StoredModel
from fastgshare.shared.arrays import Array
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.tensors import BYTES
from fastgshare.shared.units import BYTES_PER_MIB

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_ERRORS_ONLY = 3

# The cores that a session's threads are bound to; empty for one that computes on its caller alone.
Threads = tuple[int, ...]
ON_CALLER: Threads = ()


class OnnxRuntime:
    """The `Runtime` port for ONNX files."""

    def load(self, model: StoredModel) -> "OnnxModel":
        """Read a file into a session of one thread. Raises ModelFault."""
        return OnnxModel(model)


@dataclass(slots=True)
class _Shared:
    session: ort.InferenceSession
    holders: int = 0


class OnnxModel:
    """A model with a session for each set of threads that replicas of it compute on."""

    def __init__(self, model: StoredModel) -> None:
        self._model = model
        self._lock = threading.Lock()
        first = _open(model, 1)
        self._sessions: dict[Threads, _Shared] = {ON_CALLER: _Shared(first)}
        self._file_mib = model.path.stat().st_size / BYTES_PER_MIB
        self.info = ModelInfo(
            inputs=tuple(_spec(value) for value in first.get_inputs()),
            outputs=tuple(_spec(value) for value in first.get_outputs()),
            metadata=dict(first.get_modelmeta().custom_metadata_map),
            axes={value.name: _axes(value) for value in first.get_inputs()},
        )

    @property
    def weights_mib(self) -> float:
        """What the weights take: the file once for each set of threads."""
        return self._file_mib * len(self._sessions)

    def session(self, cores: int) -> "OnnxSession":
        """The session of the calling thread's cores, of which the caller keeps the first. Raises ModelFault."""
        threads = ON_CALLER if cores == 1 else tuple(sorted(os.sched_getaffinity(0)))
        with self._lock:
            shared = self._sessions.get(threads)
            if shared is None:
                shared = self._sessions[threads] = _Shared(_open(self._model, cores, threads))
            shared.holders += 1
            self._drop_unheld()  # the one that was read first, where nobody computes on one core
        if threads:
            os.sched_setaffinity(0, threads[:1])
        return OnnxSession(self, threads, shared.session)

    def release(self, threads: Threads) -> None:
        """A session of these threads was closed; the last session of the model stays until the model is closed."""
        with self._lock:
            shared = self._sessions.get(threads)
            if shared is not None:
                shared.holders -= 1
                if len(self._sessions) > 1:
                    self._drop_unheld()

    def close(self) -> None:
        """Free everything."""
        with self._lock:
            self._sessions.clear()

    def _drop_unheld(self) -> None:
        for threads in [threads for threads, shared in self._sessions.items() if not shared.holders]:
            if len(self._sessions) > 1:
                del self._sessions[threads]


class OnnxSession:
    """One replica's hold on a shared session, which closing gives up.

    What was begun on another thread meanwhile, such as a quick batch on the event loop while its replica moves, still
    runs to its end: the session itself goes with the last reference to it.
    """

    is_portable = True

    def __init__(self, model: OnnxModel, threads: Threads, session: ort.InferenceSession) -> None:
        self._model = model
        self._threads = threads
        self._session = session
        self._is_held = True
        self._output_names = [spec.name for spec in model.info.outputs]
        self._has_text = any(spec.datatype == BYTES for spec in model.info.inputs)

    def run(self, feed: dict[str, Array]) -> dict[str, Array]:
        """One batch. Raises ModelFault with ONNX Runtime's words, InputUnusable for text that is none."""
        if self._has_text:
            feed = {name: _text(name, array) if array.dtype == object else array for name, array in feed.items()}
        try:
            outputs = self._session.run(self._output_names, feed)
        except Exception as error:  # ONNX Runtime raises classes of its own that share no public base
            raise ModelFault(reason=error) from error
        return {name: np.asarray(output) for name, output in zip(self._output_names, outputs, strict=True)}

    def close(self) -> None:
        """Let go of the session. Idempotent."""
        if self._is_held:
            self._is_held = False
            self._model.release(self._threads)


def _open(model: StoredModel, cores: int, threads: Threads = ON_CALLER) -> ort.InferenceSession:
    """A session of so many threads: the caller and, where more, one on each core of `threads` but the first."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if len(threads) == cores > 1:
        own = ";".join(str(core + 1) for core in threads[1:])  # ONNX Runtime counts processors from 1
        options.add_session_config_entry("session.intra_op_thread_affinities", own)
    try:
        return ort.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as in `run`
        words = str(error).replace(str(model.path), "the model file")  # where a node keeps it is nobody's business
        raise ModelFault(reason=f"it is no model that ONNX Runtime can load: {words}") from error


def _text(name: str, array: Array) -> Array:
    """BYTES elements as ONNX strings, which are text: of `bytes` ONNX Runtime would take Python's notation for them."""
    text = np.empty(array.size, dtype=object)
    try:
        text[:] = [element.decode() if isinstance(element, bytes) else element for element in array.reshape(-1)]
    except UnicodeDecodeError as error:
        raise InputUnusable(reason=f"input '{name}' is for text, expected UTF-8: {error}") from error
    return text.reshape(array.shape)


def _spec(value: Any) -> TensorSpec:
    datatype = _DATATYPES.get(value.type)
    if datatype is None:
        raise ModelFault(reason=f"'{value.name}' has type {value.type}, which no tensor datatype stands for")
    shape = tuple(length if isinstance(length, int) and length >= 0 else -1 for length in value.shape)
    return TensorSpec(value.name, datatype, shape)


def _axes(value: Any) -> tuple[str, ...]:
    return tuple(length if isinstance(length, str) else "" for length in value.shape)
