"""The MPS control daemon of one GPU: started where none answers, asked, and told to quit. Every call is bounded.

It is started with `-d`, not in the foreground: the daemon starts the MPS server, which must outlive neither of them by
a kill, so the only clean end is `quit`; and a worker that was killed finds the daemon of its former life by its
directory and takes it over. A daemon that an administrator runs (`CUDA_MPS_PIPE_DIRECTORY` in the worker's environment)
is used as it is and never told to quit.

Source: NVIDIA, Multi-Process Service, "Tools and Interface Reference".
"""

import logging
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from fastgshare.node_manager.devices.faults import DeviceUnavailable
from fastgshare.node_manager.ipc.environment import passed_on
from fastgshare.shared.errors import FastGShareError

BINARY = "nvidia-cuda-mps-control"
CALL_LIMIT_S = 5.0
PIPES_PATH_BYTES = 88  # a socket's address has room for 107 bytes, and the daemon's names there take up to 19
_ABSENT = "Cannot find MPS control daemon"
_FAULT = "FAULT"

logger = logging.getLogger(__name__)


class ControlSilent(FastGShareError):
    """The control daemon did not do what it was asked: fields `command`, `reason`."""


class MpsControl:
    """Made by `open_control`. Methods may be called from any thread."""

    def __init__(self, binary: Path, directory: Path, visible_devices: str, is_ours: bool) -> None:
        self._binary = binary
        self._lock = threading.Lock()
        self._is_ours = is_ours
        self._pipes = directory / "pipe" if is_ours else directory
        self._visible_devices = visible_devices
        self.environment = {"CUDA_MPS_PIPE_DIRECTORY": str(self._pipes)}
        if is_ours:
            self.environment["CUDA_MPS_LOG_DIRECTORY"] = str(directory / "log")

    def ensure_running(self) -> None:
        """Start the daemon unless one answers. Raises ControlSilent with its words."""
        with self._lock:
            if self._answers():
                return
            if not self._is_ours:
                raise ControlSilent(command="get_server_list", reason=f"no daemon answers at {self._pipes}")
            for directory in self.environment.values():
                Path(directory).mkdir(parents=True, exist_ok=True)
            self._call(["-d"], "")
            if not self._answers():
                raise ControlSilent(command="-d", reason=f"it does not answer at {self._pipes}")

    def servers(self) -> list[int]:
        """Process ids of the MPS servers; none before a process has come. Raises ControlSilent."""
        return [int(word) for word in self._call([], "get_server_list").split() if word.isdigit()]

    def problem(self) -> str:
        """What keeps the GPU from serving, in words; empty when nothing does."""
        try:
            if self.is_in_fault():
                return "its MPS server is in a fault and takes no process before all have left it"
        except ControlSilent as error:
            return f"the MPS control daemon does not answer: {error.fields['reason']}"
        return ""

    def is_in_fault(self) -> bool:
        """Whether a fault of one process has come to all of a server. Raises ControlSilent."""
        return any(_FAULT in self._call([], f"get_server_status {server}").upper() for server in self.servers())

    def terminate(self, client_pid: int) -> None:
        """Take a process's work off the GPU, so that its end hangs nobody; what cannot be done is logged."""
        try:
            for server in self.servers():
                self._call([], f"terminate_client {server} {client_pid}")
        except ControlSilent as error:
            logger.warning("the work of process %d stays on the GPU: %s", client_pid, error)

    def close(self) -> None:
        """Tell the daemon to quit if it is ours. Idempotent."""
        with self._lock:
            try:
                if self._is_ours and self._answers():
                    self._call([], "quit")
            except ControlSilent as error:
                logger.warning("the MPS control daemon did not quit: %s", error)

    def _answers(self) -> bool:
        try:
            self._call([], "get_server_list")
        except ControlSilent:
            return False
        return True

    def _call(self, args: list[str], command: str) -> str:
        name = command or " ".join(args)
        env = passed_on() | self.environment | {"CUDA_VISIBLE_DEVICES": self._visible_devices}
        # A file and no pipe: the daemon that `-d` leaves behind may keep it open.
        with tempfile.TemporaryFile() as output:
            try:
                done = subprocess.run(
                    [self._binary, *args],
                    input=f"{command}\n".encode(),
                    env=env,
                    stdout=output,
                    stderr=output,
                    timeout=CALL_LIMIT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise ControlSilent(command=name, reason=f"no answer within {CALL_LIMIT_S:g} s") from error
            except OSError as error:
                raise ControlSilent(command=name, reason=error.strerror) from error
            output.seek(0)
            said = output.read().decode(errors="replace")
        if done.returncode or _ABSENT in said:
            raise ControlSilent(command=name, reason=" ".join(said.split()) or f"exit status {done.returncode}")
        return said


def open_control(device: str, directory: Path, visible_devices: str) -> MpsControl:
    """The running daemon for `device`, with its pipes and logs under `directory`. Raises DeviceUnavailable."""
    found = shutil.which(BINARY)
    if found is None:
        reason = (
            f"{BINARY} is not on the PATH: install the driver's MPS programs (nvidia-compute-utils of the driver's"
            " version; in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility), or choose another device"
        )
        raise DeviceUnavailable(device=device, reason=reason)
    given = os.environ.get("CUDA_MPS_PIPE_DIRECTORY")
    control = MpsControl(Path(found), Path(given) if given else directory.absolute(), visible_devices, not given)
    pipes = control.environment["CUDA_MPS_PIPE_DIRECTORY"]
    if len(os.fsencode(pipes)) > PIPES_PATH_BYTES:
        reason = f"its pipes would lie at {pipes}, expected a path of at most {PIPES_PATH_BYTES} bytes: move data_dir"
        raise DeviceUnavailable(device=device, reason=reason)
    try:
        control.ensure_running()
    except ControlSilent as error:
        raise DeviceUnavailable(device=device, reason=f"the MPS control daemon: {error}") from error
    return control
