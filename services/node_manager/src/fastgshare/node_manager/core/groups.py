"""Replicas connected by shared chunks, and who of them starts next. Groups share no chunk: each decides alone.

Everything that depends only on what replicas hold is worked out when that changes: slots as *stretches* of the period
in which nobody's slot begins or ends, and for each replica when slots of its neighbours begin. Within a stretch the
standing of whoever is outside its slot does not change with time, so a decision is comparisons of whole numbers.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from fastgshare.node_manager.core.accounts import Account
from fastgshare.node_manager.core.timetable import Slot, period_for
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE

AHEAD_IN_SLOT = 10  # a tenth of a window: so far may a replica be ahead and still own its slot
STARVING = 10  # a tenth of a window
STARVING_BATCHES = 2

_spare_had = attrgetter("spare_us")


class Group(ABC):
    """Accounts that compete; `waiting` in the order of `owed_us`."""

    def __init__(self, accounts: Iterable[Account], period_us: int) -> None:
        self.accounts = list(accounts)
        self.period_us = period_us
        self.waiting: list[Account] = []
        for account in self.accounts:
            account.fit_in(self.period_us)
            if account.is_waiting:
                insort(self.waiting, account)

    def enqueue(self, account: Account) -> None:
        """Let it wait for its turn."""
        insort(self.waiting, account)

    def leave(self, account: Account) -> None:
        """It waits no more."""
        account.is_waiting = False
        self.waiting.remove(account)

    @abstractmethod
    def grant(self, now_us: int, taken: int) -> list[Account]:
        """Start who may run beside the chunks taken; returns them."""

    @abstractmethod
    def look_again_us(self, account: Account, now_us: int) -> int | None:
        """When time alone may bring a waiting account its token."""

    def planned_us(self, account: Account, now_us: int) -> int:
        """How far an account that had exactly its slots would be ahead of now."""
        return 0

    def wants_longer_period(self, window_us: int, batch_us: int) -> bool:
        """Whether batches of this length call for another timetable."""
        return False


class Peers(Group):
    """All on the same chunks: one runs at a time, owed longest first, else spare time to who had least of it."""

    def grant(self, now_us: int, taken: int) -> list[Account]:
        """At most one."""
        waiting = self.waiting
        if not waiting or waiting[0].mask & taken:
            return []
        first = waiting[0]
        by_debt = first.owed_us <= now_us
        if not by_debt:
            able = [account for account in waiting if account.may_spare and account.clear_us <= now_us]
            if not able:
                return []
            first = min(able, key=_spare_had)
        waiting.remove(first)
        first.start(now_us, by_debt)
        return [first]

    def look_again_us(self, account: Account, now_us: int) -> int | None:
        """When it is owed its next batch, or its limit lets it have spare time."""
        time_us = min(account.owed_us, account.clear_us) if account.may_spare else account.owed_us
        return time_us if time_us > now_us else None


class Mixed(Group):
    """Not all on the same chunks: everybody has slots of a period, which are rounded by debt, not cut."""

    def __init__(
        self, accounts: Iterable[Account], period_us: int, window_us: int, slots: Mapping[ReplicaId, Sequence[Slot]]
    ) -> None:
        super().__init__(accounts, period_us)
        self._ahead_us = window_us // AHEAD_IN_SLOT
        self._starving_us = window_us // STARVING
        self._slotless = [account for account in self.accounts if not slots[account.replica]]
        self._whole_us = {
            account.replica: sum(end_us - start_us for start_us, end_us in slots[account.replica])
            for account in self.accounts
        }
        edges_us = {edge_us for row in slots.values() for slot in row for edge_us in slot} | {0}
        self._edges_us = sorted(edge_us for edge_us in edges_us if edge_us < period_us)
        self._owners = [_owners(self.accounts, slots, edge_us) for edge_us in self._edges_us]
        self._had_us = [
            [self._paid_us(account, _had_us(slots[account.replica], edge_us)) for account in self.accounts]
            for edge_us in self._edges_us
        ]
        self._neighbours = {account.replica: _starts(account, self.accounts, slots) for account in self.accounts}
        self._stretch = -1
        self._start_us = 0
        self._end_us = -1

    def grant(self, now_us: int, taken: int) -> list[Account]:
        """Owners of slots, then who is late, then anybody."""
        if not any(not account.mask & taken for account in self.waiting):
            return []
        self._enter(now_us)
        turn = _Turn(self, now_us, taken)
        owners = [account for account in self._owners[self._stretch] if self._is_due(account, now_us)]
        for account in owners:
            turn.consider(account, by_debt=True, may_reserve=True)
        late: list[tuple[Account, int]] = []
        spare: list[Account] = []
        taken = turn.taken
        for account in self.waiting:
            behind_us = account.plan_us - account.owed_us
            if behind_us >= account.late_us:
                if account not in owners:
                    late.append((account, behind_us))
            elif account.may_spare and account.clear_us <= now_us and not account.mask & taken:
                if account not in owners:
                    spare.append(account)
        for account, behind_us in late:
            turn.consider(account, by_debt=True, may_reserve=self._is_starving(account, behind_us))
        if spare:
            spare.sort(key=_spare_had)
            for account in spare:
                turn.consider(account, by_debt=False, may_reserve=False)
        if turn.granted:
            self.waiting = [account for account in self.waiting if account.is_waiting]
        return turn.granted

    def look_again_us(self, account: Account, now_us: int) -> int | None:
        """The next time a slot of its own or of a neighbour begins, its own ends, or its account lets it run."""
        self._enter(now_us)
        starts_us, _ = self._neighbours[account.replica]
        times_us = [self._end_us] if account in self._owners[self._stretch] else []
        if starts_us:
            phase_us = now_us % self.period_us
            index = bisect_right(starts_us, phase_us)
            until_us = starts_us[index] if index < len(starts_us) else starts_us[0] + self.period_us
            times_us.append(now_us - phase_us + until_us)
        if account.may_spare and account.clear_us > now_us:
            times_us.append(account.clear_us)
        if not self._whole_us[account.replica] and account.owed_us + account.late_us > now_us:
            times_us.append(account.owed_us + account.late_us)
        return min(times_us, default=None)

    def planned_us(self, account: Account, now_us: int) -> int:
        """How far an account that had exactly its slots would be ahead of now: less than none before them."""
        self._enter(now_us)
        return self._plan_us(account, now_us) - now_us

    def wants_longer_period(self, window_us: int, batch_us: int) -> bool:
        """Whether batches of this length call for another timetable."""
        return period_for(window_us, batch_us) > self.period_us

    def runs_into_a_slot(self, account: Account, now_us: int) -> bool:
        """Whether its batch should still run when a slot of another replica with work begins on its chunks."""
        starts_us, owners = self._neighbours[account.replica]
        phase_us = now_us % self.period_us
        base_us = now_us - phase_us
        end_us = phase_us + account.expected_us
        for index in range(bisect_right(starts_us, phase_us), len(starts_us)):
            if starts_us[index] >= end_us:
                return False
            if owners[index] is not account and owners[index].wants(base_us + starts_us[index]):
                return True
        end_us -= self.period_us
        base_us += self.period_us
        for start_us, other in zip(starts_us, owners, strict=True):
            if start_us >= end_us:
                return False
            if other is not account and other.wants(base_us + start_us):
                return True
        return False

    def may_run_over(self, account: Account, now_us: int) -> bool:
        """In its slot and behind: the slot will not make up for that."""
        return account in self._owners[self._stretch] and account.owed_us < self._plan_us(account, now_us)

    def _is_due(self, account: Account, now_us: int) -> bool:
        return account.is_waiting and account.owed_us - self._plan_us(account, now_us) <= self._ahead_us

    def _is_starving(self, account: Account, behind_us: int) -> bool:
        """Outside its slot only who is behind by more than a tenth of a window: keeping chunks free has a price."""
        device_us = behind_us * account.share.request_permille // PER_MILLE
        return device_us >= max(self._starving_us, STARVING_BATCHES * account.expected_us)

    def _enter(self, now_us: int) -> None:
        """Bring `plan_us` of all accounts up to the stretch that `now_us` lies in."""
        if not self._start_us <= now_us < self._end_us:
            phase_us = now_us % self.period_us
            self._stretch = bisect_right(self._edges_us, phase_us) - 1
            following = self._stretch + 1
            base_us = now_us - phase_us
            self._start_us = base_us + self._edges_us[self._stretch]
            is_last = following == len(self._edges_us)
            self._end_us = base_us + (self.period_us if is_last else self._edges_us[following])
            for account, had_us in zip(self.accounts, self._had_us[self._stretch], strict=True):
                account.plan_us = base_us + had_us
        for account in self._slotless:
            account.plan_us = now_us

    def _plan_us(self, account: Account, now_us: int) -> int:
        """Where its account would be now if it had had exactly its slots."""
        if account in self._owners[self._stretch]:
            return account.plan_us + self._paid_us(account, now_us - self._start_us)
        return account.plan_us

    def _paid_us(self, account: Account, had_us: int) -> int:
        """By how much device time within its slots moves its account on."""
        whole_us = self._whole_us[account.replica]
        return had_us * self.period_us // whole_us if whole_us else 0


class _Turn:
    """One round of grants in a mixed group: chunks taken, and those kept for who comes first."""

    def __init__(self, group: Mixed, now_us: int, taken: int) -> None:
        self.granted: list[Account] = []
        self.taken = taken
        self._group = group
        self._now_us = now_us
        self._reserved = 0
        self._able_us = now_us

    def consider(self, account: Account, by_debt: bool, may_reserve: bool) -> None:
        """Start it, or keep its chunks for it, or neither."""
        mask, now_us = account.mask, self._now_us
        if mask & self.taken or (mask & self._reserved and now_us + account.expected_us > self._able_us):
            if may_reserve:
                self._reserve(mask)
        elif self._group.may_run_over(account, now_us) or not self._group.runs_into_a_slot(account, now_us):
            account.start(now_us, by_debt)
            self.taken |= mask
            self.granted.append(account)

    def _reserve(self, mask: int) -> None:
        """Keep chunks free, but for what should end before all that runs on them does."""
        ends_us = [other.granted_us + other.expected_us for other in self._group.accounts if other.running & mask]
        able_us = max(ends_us, default=self._now_us)
        self._able_us = min(self._able_us, able_us) if self._reserved else able_us
        self._reserved |= mask


def _owners(accounts: Iterable[Account], slots: Mapping[ReplicaId, Sequence[Slot]], edge_us: int) -> list[Account]:
    return [
        account
        for account in accounts
        if any(start_us <= edge_us < end_us for start_us, end_us in slots[account.replica])
    ]


def _had_us(row: Sequence[Slot], phase_us: int) -> int:
    return sum(min(end_us, phase_us) - start_us for start_us, end_us in row if start_us < phase_us)


def _starts(
    account: Account, accounts: Iterable[Account], slots: Mapping[ReplicaId, Sequence[Slot]]
) -> tuple[list[int], list[Account]]:
    """When slots on its chunks begin, its own too, and whose they are."""
    starts = sorted(
        ((start_us, other) for other in accounts if other.mask & account.mask for start_us, _ in slots[other.replica]),
        key=lambda start: start[0],
    )
    return [start_us for start_us, _ in starts], [other for _, other in starts]
