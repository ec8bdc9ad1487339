"""Why a profile has no more points than it has, in words. Pure."""

from examples.demo.wording import ms
from fastgshare.shared.messages import Profile, ProfileState


def why_it_ends(profile: Profile, max_batch: int, objective_ms: float) -> str:
    """Why larger batches or further points were left out; empty where none was."""
    if profile.reason:
        return profile.reason
    batches = profile.axes.batches if profile.axes is not None else tuple(point.batch for point in profile.points)
    largest = max(batches, default=max_batch)
    if largest >= max_batch:
        return ""
    left_out = f"nothing above {largest} of at most {max_batch} was measured"
    if profile.state is not ProfileState.COMPLETE:
        return f"{left_out}: the profile is not complete"
    return f"{left_out}: on the whole device such a batch alone takes longer than the objective, {ms(objective_ms)} ms"
