"""What can go wrong for a client, apart from refusals of single requests (`RequestRefused`)."""

from fastgshare.shared.errors import FastGShareError

PROBLEMS_SHOWN = 5
IMPORTING = "import-"
"""What the holder of a table's lease is called that imports or removes one."""


class PlatformNotFound(FastGShareError):
    """No platform answers at this address: fields `url`, `reason`."""

    def __str__(self) -> str:
        return (
            f"no platform at {self.fields['url']} ({self.fields['reason']}): start one with `fastgshare up`, name "
            "another with --url or FASTGSHARE_NATS_URL, or one here that has a --data-dir of its own with "
            "FASTGSHARE_DATA_DIR"
        )


class SourceUnavailable(FastGShareError):
    """A file that a function is made of cannot be had: fields `source`, `reason`."""

    def __str__(self) -> str:
        return f"{self.fields['source']}: {self.fields['reason']}"


class DeployFailed(FastGShareError):
    """It cannot run: fields `function`, `generation`, `reason`, `serving` (another one, or 0)."""

    def __str__(self) -> str:
        text = f"generation {self.fields['generation']} of '{self.fields['function']}' failed: "
        text += str(self.fields["reason"])
        if self.fields["serving"]:
            text += f" (generation {self.fields['serving']} keeps serving)"
        return text


class DeployTimedOut(FastGShareError):
    """Stored, but not ready in time: fields `function`, `generation`, `timeout_s`, `seen`."""

    def __str__(self) -> str:
        return (
            f"generation {self.fields['generation']} of '{self.fields['function']}' was not ready within "
            f"{self.fields['timeout_s']:g} s: {self.fields['seen']}"
        )


class SignatureUnknown(FastGShareError):
    """No replica told in time what its function takes: fields `function`, `waited_s`, `seen`."""

    def __str__(self) -> str:
        return (
            f"waited {self.fields['waited_s']:g} s for a replica of '{self.fields['function']}' to tell what it takes, "
            f"and none did: {self.fields['seen']}"
        )


class TableFileInvalid(FastGShareError):
    """A file holds no table that can be used; `problems` says what is wrong where."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems="; ".join(problems))
        self.problems = problems

    def __str__(self) -> str:
        shown = "; ".join(self.problems[:PROBLEMS_SHOWN])
        more = len(self.problems) - PROBLEMS_SHOWN
        return f"{shown}; and {more} more" if more > 0 else shown


class TableForeign(FastGShareError):
    """A table is of another model or kind of device than it is to stand for: fields `what`, `found`, `expected`."""

    def __str__(self) -> str:
        return f"the table is of {self.fields['what']} {self.fields['found']}, expected {self.fields['expected']}"


class TableBusy(FastGShareError):
    """Somebody else writes this very table now: fields `function`, `device_kind`, `holder` ("": it is not known)."""

    def __str__(self) -> str:
        holder = str(self.fields["holder"])
        who = f"profiler {holder} is measuring" if holder else "a profiler is measuring"
        if holder.startswith(IMPORTING):
            who = "somebody else is importing or removing the table of"
        return (
            f"{who} '{self.fields['function']}' on {self.fields['device_kind']}: "
            "two that write one table would overwrite each other; try again when that is done"
        )
