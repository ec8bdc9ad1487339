"""Who may run: a token is the right to run one batch on a replica's chunks. Integer microseconds, no clock of its own.

Tokens that run never share a chunk. Grants go, in this order, to replicas that are

1. *due*: owed time (`accounts`), or in their own slot where masks overlap without being equal (`timetable`);
2. *late*: in a mixed group, and more than a batch behind what their slots should have given them;
3. anybody with work, as spare time, the one that had least of it first;

always only while their limit lets them. A due replica whose chunks are not all free keeps them from everybody behind
it, but for batches that should end before it can start (EASY backfilling, Lifka 1995), so that a wide replica is not
passed over for ever: it waits for what ran when it came due. In a mixed group nobody starts what would run into the
next slot of another replica with work, but the owner of a slot that is behind: slots are rounded by debt, not cut.

Guarantees, for shares that promise no chunk more than its time (property-tested in `tests/node_manager/core`):
running tokens never overlap; a replica with work has its request, and never more than its limit, within 2 points over
any ten windows; waiting is bounded; no chunk idles while somebody may use it, but for hand-overs in mixed groups;
overrun is charged. `docs/decisions/0004` has the figures, and what hand-overs cost where a device is promised in full.
"""

from bisect import insort

from fastgshare.node_manager.core.accounts import Account, Use
from fastgshare.node_manager.core.timetable import PERIOD_WINDOWS, Share, Timetable, period_for, timetable
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE

AHEAD_IN_SLOT = 10  # a tenth of a window: so far may a replica be ahead and still own its slot
STARVING = 10  # a tenth of a window
STARVING_BATCHES = 2


def mask_of(chunks: tuple[int, ...]) -> int:
    """Chunk indices as a bitmask."""
    mask = 0
    for chunk in chunks:
        mask |= 1 << chunk
    return mask


def permille_of(quota: float) -> int:
    """A share of time in parts per thousand, at least one."""
    return max(round(quota * PER_MILLE), 1)


class TokenBook:
    """Tokens of one device."""

    def __init__(self, chunks: int, window_us: int) -> None:
        self.window_us = window_us
        self._all_chunks = (1 << chunks) - 1
        self._accounts: dict[ReplicaId, Account] = {}
        self._waiting: list[Account] = []  # in the order of `owed_us`
        self._taken = 0
        self._timetable = Timetable(window_us)

    # Replicas

    def set_share(self, replica: ReplicaId, share: Share, now_us: int) -> list[ReplicaId]:
        """Take a replica on, or change what it holds, in place; returns who may start now.

        A token that runs keeps its chunks until it ends.
        """
        account = self._accounts.get(replica)
        if account is None:
            self._accounts[replica] = Account(replica, share, owed_us=now_us, clear_us=now_us)
        else:
            account.change(share)
        self._plan()
        return self._grant(now_us)

    def remove(self, replica: ReplicaId, now_us: int) -> list[ReplicaId]:
        """Forget a replica and the token it holds; returns who may start now."""
        account = self._accounts.pop(replica, None)
        if account is None:
            return []
        self._leave_queue(account)
        self._taken &= ~account.running
        self._plan()
        return self._grant(now_us)

    # Batches

    def ask(self, replica: ReplicaId, expected_us: int, now_us: int) -> list[ReplicaId]:
        """`replica` has work of which a batch should take `expected_us`; returns who may start now."""
        account = self._accounts[replica]
        if not account.is_waiting and not account.running:
            account.begin_backlog(now_us, self.window_us, self._planned_us(account, now_us))
            self._enqueue(account, expected_us, now_us)
        return self._grant(now_us)

    def ask_now(self, replica: ReplicaId, expected_us: int, now_us: int) -> bool:
        """Whether `replica` gets a token this moment; it does not wait for one."""
        account = self._accounts[replica]
        if account.is_waiting or account.running or account.share.mask & self._taken:
            return False
        if self._waiting:  # somebody may be before it
            if replica in self.ask(replica, expected_us, now_us):
                return True
            self._leave_queue(account)
            account.end_backlog(now_us)
            return False
        account.begin_backlog(now_us, self.window_us, self._planned_us(account, now_us))
        if account.clear_us > now_us:
            account.end_backlog(now_us)
            return False
        account.ask(expected_us, now_us)
        self._start(account, now_us, by_debt=account.owed_us <= now_us)
        return True

    def end(self, replica: ReplicaId, used_us: int, now_us: int, again_us: int | None = None) -> list[ReplicaId]:
        """`replica`'s batch is done after `used_us` of device time; returns who may start now.

        `again_us`: it has more work and asks for its next batch, expected to take that long, in the same breath, so
        that nobody behind it slips in while it turns around.
        """
        account = self._accounts.get(replica)
        if account is None or not account.running:
            return []
        self._taken &= ~account.running
        account.charge(used_us, self._timetable.period_us)
        if again_us is None:
            account.end_backlog(now_us)
        else:
            self._enqueue(account, again_us, now_us)
        return self._grant(now_us)

    def give_up(self, replica: ReplicaId, now_us: int) -> list[ReplicaId]:
        """`replica` has no work after all and waits no more; returns who may start now."""
        account = self._accounts[replica]
        self._leave_queue(account)
        account.end_backlog(now_us)
        return self._grant(now_us)

    def poll(self, now_us: int) -> list[ReplicaId]:
        """Time has passed; returns who may start now."""
        return self._grant(now_us)

    # Views

    def look_again_us(self, replica: ReplicaId, now_us: int) -> int | None:
        """When time alone may bring a waiting replica its token: `poll` then. None: only somebody's end can."""
        account = self._accounts[replica]
        if account.clear_us > now_us:
            return account.clear_us
        return self._timetable.next_slot_us(replica, now_us) if replica in self._timetable.slots else None

    def wake_at_us(self, now_us: int) -> int | None:
        """The earliest `look_again_us` of all that wait."""
        times_us = [self.look_again_us(account.replica, now_us) for account in self._waiting]
        return min((time_us for time_us in times_us if time_us is not None), default=None)

    def running(self) -> dict[ReplicaId, int]:
        """The chunks of every running token, as masks."""
        return {replica: account.running for replica, account in self._accounts.items() if account.running}

    def waiting(self) -> list[ReplicaId]:
        """Who waits, longest owed first."""
        return [account.replica for account in self._waiting]

    def shares(self) -> dict[ReplicaId, Share]:
        """What every replica holds."""
        return {replica: account.share for replica, account in self._accounts.items()}

    def take_use(self, now_us: int) -> dict[ReplicaId, Use]:
        """What each replica had since the last call."""
        return {replica: account.take_use(now_us) for replica, account in self._accounts.items()}

    # Queue

    def _enqueue(self, account: Account, expected_us: int, now_us: int) -> None:
        is_longer = expected_us > account.longest_us
        account.ask(expected_us, now_us)
        insort(self._waiting, account)
        if is_longer and account.replica in self._timetable.slots:
            self._plan_for_longer(expected_us)

    def _leave_queue(self, account: Account) -> None:
        if account.is_waiting:
            account.is_waiting = False
            self._waiting = [other for other in self._waiting if other is not account]

    def _plan(self) -> None:
        longest_us = max((account.longest_us for account in self._accounts.values()), default=0)
        self._timetable = timetable(self.shares(), self.window_us, longest_us)

    def _plan_for_longer(self, batch_us: int) -> None:
        period_us = self._timetable.period_us
        if period_us < PERIOD_WINDOWS[-1] * self.window_us and period_for(self.window_us, batch_us) > period_us:
            self._plan()

    # Grants

    def _grant(self, now_us: int) -> list[ReplicaId]:
        if not self._waiting or self._taken == self._all_chunks:
            return []
        due, late, spare = self._ranked(now_us)
        granted: list[ReplicaId] = []
        reserved, start_us = 0, now_us
        for accounts, by_debt in ((due, True), (late, True), (spare, False)):
            for account in accounts:
                mask = account.share.mask
                blocked = mask & self._taken
                if not blocked and mask & reserved:
                    blocked = now_us + account.expected_us > start_us
                if not blocked and not self._runs_into_a_slot(account, now_us):
                    self._start(account, now_us, by_debt)
                    granted.append(account.replica)
                    if self._taken == self._all_chunks:
                        return self._without_started(granted)
                elif blocked and by_debt and self._may_reserve(account, now_us, accounts is due):
                    able_us = self._able_us(mask, now_us)
                    start_us = min(start_us, able_us) if reserved else able_us
                    reserved |= mask
        return self._without_started(granted)

    def _ranked(self, now_us: int) -> tuple[list[Account], list[Account], list[Account]]:
        due: list[Account] = []
        late: list[Account] = []
        spare: list[Account] = []
        slots = self._timetable.slots
        for account in self._waiting:
            if account.replica in slots:
                rank = self._rank_mixed(account, now_us)
                if rank is not None:
                    (due, late, spare)[rank].append(account)
            elif account.clear_us > now_us:
                continue
            elif account.owed_us <= now_us:
                due.append(account)
            else:
                spare.append(account)
        if len(spare) > 1:
            spare.sort(key=_spare_had)
        return due, late, spare

    def _rank_mixed(self, account: Account, now_us: int) -> int | None:
        """0 due, 1 late, 2 spare; None while it may not run.

        Without a right to spare time the account of what is owed is the limit too: it knows of slots.
        """
        share = account.share
        may_spare = share.limit_permille > share.request_permille
        if may_spare and account.clear_us > now_us:
            return None
        ahead_us = account.owed_us - now_us - self._planned_us(account, now_us)
        if ahead_us <= self.window_us // AHEAD_IN_SLOT and self._timetable.left_us(account.replica, now_us):
            return 0
        if self._behind_us(account, now_us) >= account.expected_us:
            return 1
        return 2 if may_spare else None

    def _planned_us(self, account: Account, now_us: int) -> int:
        """How far its account would be ahead if it had had exactly its slots."""
        table = self._timetable
        return table.ahead_us(account.replica, now_us) if account.replica in table.slots else 0

    def _may_reserve(self, account: Account, now_us: int, is_due: bool) -> bool:
        """Outside its slot only who is behind by more than a tenth of a window: keeping chunks free has a price."""
        return is_due or self._behind_us(account, now_us) >= max(
            self.window_us // STARVING, STARVING_BATCHES * account.expected_us
        )

    def _behind_us(self, account: Account, now_us: int) -> int:
        """Device time it should have had and did not."""
        behind_us = now_us + self._planned_us(account, now_us) - account.owed_us
        return behind_us * account.share.request_permille // PER_MILLE

    def _runs_into_a_slot(self, account: Account, now_us: int) -> bool:
        """Whether its batch should still run when a slot of another replica with work begins on its chunks."""
        table = self._timetable
        if account.replica not in table.slots:
            return False
        needed_us = account.expected_us
        if table.left_us(account.replica, now_us) and account.owed_us - now_us < table.ahead_us(account.replica, now_us):
            return False  # it is behind, and its slot will not make up for that: it may run over
        for replica in table.slots:
            other = self._accounts[replica]
            has_work = other.is_waiting or other.running
            if other is account or not has_work or not other.share.mask & account.share.mask:
                continue
            next_us = table.next_slot_us(replica, now_us)
            if next_us is not None and next_us < now_us + needed_us and other.clear_us <= next_us:
                return True
        return False

    def _start(self, account: Account, now_us: int, by_debt: bool) -> None:
        account.start(now_us, by_debt)
        self._taken |= account.running

    def _without_started(self, granted: list[ReplicaId]) -> list[ReplicaId]:
        if granted:
            self._waiting = [account for account in self._waiting if account.is_waiting]
        return granted

    def _able_us(self, mask: int, now_us: int) -> int:
        """When the batches that run on `mask` should be over."""
        ends_us = [
            account.granted_us + account.expected_us
            for account in self._accounts.values()
            if account.running & mask
        ]
        return max(ends_us, default=now_us)


def _spare_had(account: Account) -> int:
    return account.spare_us
