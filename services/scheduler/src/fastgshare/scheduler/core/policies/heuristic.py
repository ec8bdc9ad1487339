"""Scaling by throughput per resource alone, as FaST-GShare does it (ICPP 2023, section 4), on any set of slices. Pure.

`delta = R - sum(T)`. Up: as many of the efficient slice as `delta` holds, then the smallest slice that covers the rest.
Down: replicas leave in ascending RPR while what stays is no less than the demand. `T` is what the table says of a
closed loop, and so is the latency that is held against the objective: of one client, who never waits for another. No
forecast, no waiting, no change in place.
"""

from collections.abc import Sequence

from fastgshare.scheduler.core.menu import Menu, Option, slice_of
from fastgshare.scheduler.core.policies.port import Answer, Demand, Member, Question, beyond
from fastgshare.shared.messages import Slice
from fastgshare.shared.units import ms_to_us

TIE = 1e-6


def scale(question: Question, options: Sequence[Option], efficient: Option) -> Answer:
    """The answer with these slices to choose from, `efficient` first."""
    answer = _scaled(question, options, efficient)
    most_rps = question.numbers.most * max(option.bare_rps for option in options)
    if question.numbers.most:
        answer.beyond = beyond(question.numbers.lasting_rps, question.numbers.most, most_rps)
    kinds = [menu.kind for menu in question.menus if menu is not question.menu]
    answer.elsewhere = {held: tuple((kind, held) for kind in kinds) for held in answer.add}
    return answer


def _scaled(question: Question, options: Sequence[Option], efficient: Option) -> Answer:
    members = list(question.members)
    delta_rps = question.numbers.need_rps - sum(map(throughput_rps, members))
    if question.numbers.most == 0:
        return Answer(drop=[member.key for member in members])
    if delta_rps > TIE or len(members) < question.numbers.least:
        return Answer(add=_up(question, options, efficient, delta_rps))
    return Answer(drop=_down(question))


def within(options: Sequence[Option], menu: Menu) -> list[Option]:
    """The slices on which one input, its quota included, takes no longer than the objective; all where none does."""
    objective_us = ms_to_us(menu.spec.slo_ms)
    return [option for option in options if option.pace_us <= objective_us] or list(options)


def with_headroom_rps(demand: Demand, headroom: float) -> float:
    """Arrivals now with head-room, and those that wait."""
    return demand.rate_rps * (1 + headroom) + demand.waiting_rps


def throughput_rps(member: Member) -> float:
    """What a member does by the table."""
    return member.option.bare_rps if member.option is not None else 0.0


def _up(question: Question, options: Sequence[Option], efficient: Option, delta_rps: float) -> list[Slice]:
    room = question.numbers.most - len(question.members)
    whole = min(int(max(delta_rps, 0.0) / efficient.bare_rps + TIE), room) if efficient.bare_rps > 0 else 0
    chosen = [efficient] * whole
    rest_rps = delta_rps - whole * efficient.bare_rps
    if rest_rps > TIE and whole < room:
        able = [option for option in options if option.bare_rps >= rest_rps]
        chosen.append(min(able, key=lambda option: (option.cost, option.share)) if able else efficient)
    missing = min(question.numbers.least - len(question.members) - len(chosen), room - len(chosen))
    smallest = min(options, key=lambda option: (option.cost, option.share))
    chosen += [smallest] * max(missing, 0)
    assert question.menu is not None
    return [slice_of(option, question.menu.spec) for option in chosen]


def _down(question: Question) -> list[str]:
    kept = sum(map(throughput_rps, question.members))
    leaving: list[str] = []
    for member in sorted(question.members, key=_first_to_go):
        if len(question.members) - len(leaving) <= question.numbers.least:
            break
        done_rps = throughput_rps(member)
        is_surplus = len(question.members) - len(leaving) > question.numbers.most
        if is_surplus or kept - done_rps >= question.numbers.lasting_rps - TIE:
            leaving.append(member.key)
            kept -= done_rps
    return leaving


def _first_to_go(member: Member) -> tuple[float, tuple[int, int]]:
    rpr = member.option.bare_rpr if member.option is not None else 0.0
    return round(rpr, 6), member.rank
