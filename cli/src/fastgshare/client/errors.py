"""What can go wrong for a client, apart from refusals of single requests (`RequestRefused`)."""

from fastgshare.shared.errors import FastGShareError


class PlatformNotFound(FastGShareError):
    """No platform answers at this address: fields `url`, `reason`."""

    def __str__(self) -> str:
        return (
            f"no platform at {self.fields['url']} ({self.fields['reason']}): start one with `fastgshare up`, "
            "or name another with --url or FASTGSHARE_NATS_URL"
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
