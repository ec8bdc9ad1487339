"""Replicas that go: what the policy lets go, and older generations as newer ones are ready. Pure."""

from collections.abc import Sequence

from fastgshare.scheduler.core.members import Rollout


def shrink(rollout: Rollout, base: int, dropped: Sequence[str], reason: str) -> None:
    """Remove what the policy lets go."""
    for member in [member for member in rollout.of(base) if member.placed.key in dropped]:
        rollout.remove(member, reason)


def retire(rollout: Rollout, base: int, count: int, full: bool) -> None:
    """Let older generations go as far as newer ones are ready, and superseded attempts at once."""
    _drop_superseded(rollout, base)
    covered = rollout.ready(base)
    for member in [member for member in rollout.members if member.outgrown and covered >= count]:
        rollout.remove(member, f"{covered} replicas with its new quota are ready, {count} are wanted")
    for generation in [g for g in rollout.live_generations() if g != base]:
        if generation == rollout.spec.generation:
            continue
        if covered >= count:
            for member in rollout.of(generation):
                rollout.remove(member, f"{covered} newer replicas are ready, {count} are wanted")
        covered += rollout.ready(generation)
    if full and rollout.ready(base) and covered > count:
        _make_room(rollout, base)


def _drop_superseded(rollout: Rollout, base: int) -> None:
    """Of older generations never seen ready, keep at most what may be the last good one."""
    others = [g for g in rollout.live_generations() if g not in (base, rollout.spec.generation)]
    unproven = [generation for generation in others if generation not in rollout.function.proven]
    keeps_serving = len(unproven) < len(others) or base != rollout.spec.generation
    for generation in unproven if keeps_serving else unproven[:-1]:
        for member in rollout.of(generation):
            rollout.remove(member, f"never ready, and superseded by generation {rollout.spec.generation}")


def _make_room(rollout: Rollout, base: int) -> None:
    """An update that fits only step by step: one old replica goes for each new one that is ready."""
    for generation in reversed(rollout.live_generations()):
        if generation not in (base, rollout.spec.generation):
            rollout.remove(rollout.of(generation)[0], "makes room for the new generation")
            return
