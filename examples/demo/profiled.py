"""Why a profile ends before the largest batch its function takes, in words. Pure."""

from examples.demo.wording import ms
from fastgshare.shared.messages import Profile, ProfileState


def why_it_ends(profile: Profile, max_batch: int, objective_ms: float) -> str:
    """Why larger batches were left out; empty where none was."""
    points = sorted(profile.points, key=lambda point: point.batch)
    if not points or points[-1].batch >= max_batch:
        return ""
    last = points[-1]
    left_out = f"nothing above {last.batch} of at most {max_batch} was measured"
    if profile.state is not ProfileState.COMPLETE:
        return f"{left_out}: the profile is not complete"
    if last.p50_us > objective_ms * 1000:
        took = f"{ms(last.p50_us / 1000)} ms at the median"
        return f"{left_out}: a batch of {last.batch} already takes longer than the objective, {took}"
    best = max(points, key=lambda point: point.throughput_rps)
    gained = f"{best.throughput_rps:.1f} inputs a second in batches of {best.batch}"
    return f"{left_out}: no gain, larger batches got hardly more done than smaller ones ({gained} at best)"
