"""What a replica is owed and allowed, as two points in time, so that credit grows by itself and nothing has to tick.

- `owed_us`: since when the device owes it its `quota_request`. A batch run on that debt moves it on by device time over
  `quota_request`; one run on spare time does not. The replica is owed something while `owed_us <= now`.
- `clear_us`: from when on it may have spare time. A batch run on spare time moves it on by device time over what
  `quota_limit` is above `quota_request`; so both together come to the limit, and a debt is paid without asking it. A
  replica in the background (`background`) is owed nothing: this is all that paces it.

Charges are what was measured, so an overrun is paid back before the next batch. Whoever has work keeps what it is owed
and not yet given (`groups` says how much of it); whoever comes back from idleness brings little along (`IDLE_CREDIT`),
because a saved-up burst would be taken from those who were promised that time. Arithmetic is in whole microseconds and
carries its remainders, so nothing is lost however small the batches.

Source: the Generic Cell Rate Algorithm's virtual scheduling (ITU-T I.371, annex A), charged by measured time.
"""

from dataclasses import dataclass, field

from fastgshare.node_manager.core.timetable import Share
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE

IDLE_CREDIT = 10  # a tenth of a window
STARVING = 10  # a tenth of a window: keeping chunks free has a price
STARVING_BATCHES = 2
FADING = 256  # a long batch counts as the longest for some hundreds of shorter ones


@dataclass(slots=True)
class Use:
    """What a replica had since it was last asked for: microseconds, batches, and its longest wait for a token.

    `chunk_us` and `promised_us` are chunks times microseconds: that it held, and that it was promised.
    """

    used_us: int = 0
    backlogged_us: int = 0
    longest_wait_us: int = 0
    batches: int = 0
    chunk_us: int = 0
    promised_us: int = 0

    def add(self, other: "Use") -> None:
        """Take in what else it had."""
        self.used_us += other.used_us
        self.backlogged_us += other.backlogged_us
        self.longest_wait_us = max(self.longest_wait_us, other.longest_wait_us)
        self.batches += other.batches
        self.chunk_us += other.chunk_us
        self.promised_us += other.promised_us


@dataclass(slots=True, eq=False)
class Account:
    """One replica's standing on its device. `running` is the mask of the token it holds, 0 for none.

    `mask`, `may_spare` and `is_background` follow from the share. In a mixed group `plan_us` is where `owed_us` would
    be if it had had exactly its slots; once that has reached `late_from_us` it waits more than a batch behind, and from
    `starving_from_us` on chunks are kept free for it. In the background `disturbed_us` counts for how long others had
    its chunks or kept it waiting for them, up to `disturbed_since_us` if they do now; `outdone_us` is when regular ones
    last had work there, which they have while it `is_outdone`.
    """

    replica: ReplicaId
    share: Share
    owed_us: int
    clear_us: int
    spare_us: int = 0
    expected_us: int = 0
    longest_us: int = 0
    asked_us: int = 0
    granted_us: int = 0
    is_waiting: bool = False
    is_paid_by_debt: bool = False
    running: int = 0
    plan_us: int = 0
    late_from_us: int = 0
    starving_from_us: int = 0
    mask: int = field(init=False)
    may_spare: bool = field(init=False)
    is_background: bool = field(init=False)
    backlogged_since_us: int | None = None
    disturbed_us: int = 0
    disturbed_since_us: int | None = None
    outdone_us: int | None = None
    is_outdone: bool = False
    use: Use = field(default_factory=Use)
    _owed_rest: int = 0
    _clear_rest: int = 0
    _window_us: int = 0
    _promised_to_us: int = field(init=False)

    def __post_init__(self) -> None:
        """What follows from its share."""
        self._hold(self.share)
        self._promised_to_us = self.owed_us

    def change(self, share: Share, now_us: int) -> None:
        """Hold another share from now on. Device time had ahead of its time is the same afterwards, so that whoever
        gets more waits less for it; how long it has been owed stays as well."""
        before = self.share
        self._count_promise(now_us)
        self._hold(share)
        self.owed_us = _rescaled(self.owed_us, now_us, before.request_permille, share.request_permille)
        self.clear_us = _rescaled(self.clear_us, now_us, _spare_permille(before), _spare_permille(share))
        if share.is_background and not before.is_background:
            self.clear_us = max(self.clear_us, self.owed_us)  # what it had too early stays had
            self.is_paid_by_debt = False  # the batch that runs too: nothing pays debts any more
        elif before.is_background and not share.is_background:
            self.owed_us = max(self.owed_us, now_us)  # nothing was owed until now
        self._owed_rest = self._clear_rest = 0

    def fit_in(self, window_us: int) -> None:
        """Time is accounted in windows of this length."""
        self._window_us = window_us
        self._set_patience()

    def begin_backlog(self, now_us: int, window_us: int, ahead_us: int, spare_us: int) -> None:
        """There is work again; `ahead_us` is where its account should be by its timetable.

        `spare_us`: what others had of spare time so far, so that it takes its turn among them and catches nothing up.
        """
        floor_us = now_us - window_us // IDLE_CREDIT
        if spare_us > self.spare_us:
            self.spare_us = spare_us
        if floor_us + ahead_us > self.owed_us:
            self.owed_us = floor_us + ahead_us
        if floor_us > self.clear_us:
            self.clear_us = floor_us
        self.backlogged_since_us = now_us

    def end_backlog(self, now_us: int) -> None:
        """There is no work left."""
        if self.backlogged_since_us is not None:
            self.use.backlogged_us += now_us - self.backlogged_since_us
        self.backlogged_since_us = None

    def ask(self, expected_us: int, now_us: int) -> None:
        """Wait for a token for a batch that should take `expected_us`."""
        self.asked_us = now_us
        self.expected_us = expected_us
        faded_us = self.longest_us - self.longest_us // FADING
        self.longest_us = faded_us if faded_us > expected_us else expected_us
        self._set_patience()
        self.is_waiting = True

    def start(self, now_us: int, by_debt: bool) -> None:
        """It got its token, as part of what it is owed or out of spare time."""
        self.is_waiting = False
        self.is_paid_by_debt = by_debt
        self.granted_us = now_us
        self.running = self.mask
        waited_us = now_us - self.asked_us
        if waited_us > self.use.longest_wait_us:
            self.use.longest_wait_us = waited_us

    def charge(self, used_us: int) -> None:
        """Its batch took this much device time."""
        use, share = self.use, self.share
        use.used_us += used_us
        use.chunk_us += used_us * self.running.bit_count()
        self.running = 0
        use.batches += 1
        if self.is_paid_by_debt:
            step_us, self._owed_rest = divmod(used_us * PER_MILLE + self._owed_rest, share.request_permille)
            self.owed_us += step_us
            return
        self.spare_us += used_us
        if self.may_spare and share.limit_permille < PER_MILLE:
            floor_us = self.granted_us - self._window_us // IDLE_CREDIT
            step_us, self._clear_rest = divmod(used_us * PER_MILLE + self._clear_rest, _spare_permille(share))
            self.clear_us = max(self.clear_us, floor_us) + step_us

    def take_use(self, now_us: int) -> Use:
        """What it had since the last call."""
        if self.backlogged_since_us is not None:
            self.use.backlogged_us += now_us - self.backlogged_since_us
            self.backlogged_since_us = now_us
        self._count_promise(now_us)
        taken, self.use = self.use, Use()
        return taken

    def _count_promise(self, now_us: int) -> None:
        """What it held so far was promised up to now."""
        promised_us = self.mask.bit_count() * self.share.request_permille * (now_us - self._promised_to_us)
        self.use.promised_us += promised_us // PER_MILLE
        self._promised_to_us = now_us

    def _hold(self, share: Share) -> None:
        self.share = share
        self.mask = share.mask
        self.may_spare = share.limit_permille > share.request_permille
        self.is_background = share.is_background

    def _set_patience(self) -> None:
        if self.is_background:
            return
        request_permille = self.share.request_permille
        self.late_from_us = self.owed_us + self.expected_us * PER_MILLE // request_permille
        starving_us = self._window_us // STARVING
        if STARVING_BATCHES * self.expected_us > starving_us:
            starving_us = STARVING_BATCHES * self.expected_us
        self.starving_from_us = self.owed_us + starving_us * PER_MILLE // request_permille


def _spare_permille(share: Share) -> int:
    """What the limit is above the request."""
    return max(share.limit_permille - share.request_permille, 0)


def _rescaled(time_us: int, now_us: int, before_permille: int, permille: int) -> int:
    """A point in time yet to come, at another rate."""
    if time_us <= now_us or not permille or not before_permille:
        return time_us
    return now_us + (time_us - now_us) * before_permille // permille
