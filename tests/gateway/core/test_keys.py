"""Who is let in with which key, and how often; also where several gateways let in at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgshare.gateway.core import keys
from fastgshare.gateway.core.keys import DAY_US, KeyBook, KeyLeft, shown_key
from fastgshare.shared.apikeys import is_key, key_digest, key_text
from fastgshare.shared.errors import ErrorCode
from fastgshare.shared.ids import FunctionName, GatewayId, KeyId
from fastgshare.shared.messages import ApiKey, KeyLimits, KeyUse, Scope
from fastgshare.shared.units import US_PER_S

NOW_US = 20_000 * DAY_US
ECHO, OTHER = FunctionName("echo"), FunctionName("other")
HERE, THERE = GatewayId("here"), GatewayId("there")
ID = KeyId("0a1b2c3d4e5f")
TEXT = key_text(ID, b"s" * 24)
NO_LIMITS = KeyLimits()


def a_key(
    *scopes: Scope, functions: tuple[FunctionName, ...] = (), limits: KeyLimits = NO_LIMITS, expires_us: int = 0
) -> ApiKey:
    return ApiKey(
        key=ID,
        digest=key_digest(TEXT),
        scopes=scopes or (Scope.INVOKE,),
        functions=functions,
        limits=limits,
        expires_us=expires_us,
    )


def book_with(key: ApiKey, gateway: GatewayId = HERE) -> KeyBook:
    book = KeyBook(gateway)
    book.key_known(key, NOW_US)
    return book


def refused(book: KeyBook, shown: str | None, scope: Scope, function: FunctionName | None, now_us: int = NOW_US) -> str:
    """The code of the refusal; empty: let in."""
    error = book.admit(shown, scope, function, now_us)
    return error.code if error is not None else ""


def let_in(book: KeyBook, tries: int, now_us: int = NOW_US) -> int:
    return sum(book.admit(TEXT, Scope.INVOKE, ECHO, now_us) is None for _ in range(tries))


def test_without_keys_everybody_is_let_in() -> None:
    assert refused(KeyBook(HERE), None, Scope.MANAGE, None) == ""
    assert refused(KeyBook(HERE, always_closed=True), None, Scope.READ, None) == ErrorCode.UNAUTHORIZED


def test_with_a_key_nobody_is_let_in_without_one_until_it_is_gone() -> None:
    book = book_with(a_key())
    assert refused(book, None, Scope.INVOKE, ECHO) == ErrorCode.UNAUTHORIZED
    assert refused(book, TEXT, Scope.INVOKE, ECHO) == ""
    book.key_gone(ID)
    assert refused(book, None, Scope.INVOKE, ECHO) == ""


def test_without_its_keys_a_gateway_that_had_some_lets_nobody_change_anything() -> None:
    book = book_with(a_key(Scope.MANAGE))
    book.key_gone(ID)
    for shown in (None, TEXT):
        assert refused(book, shown, Scope.MANAGE, None) == ErrorCode.UNAUTHORIZED
        assert refused(book, shown, Scope.READ, None) == ""
    assert not book.is_open
    book.key_known(a_key(Scope.MANAGE), NOW_US)
    assert refused(book, TEXT, Scope.MANAGE, None) == ""


@pytest.mark.parametrize(
    "shown", ["", "fgs_", TEXT[:-1], TEXT + "0", TEXT[:-1] + "0", TEXT.upper(), "é" * 60, "a" * 9999]
)
def test_nothing_but_the_whole_key_opens(shown: str) -> None:
    assert refused(book_with(a_key()), shown, Scope.INVOKE, ECHO) == ErrorCode.UNAUTHORIZED


def test_a_key_ends_when_it_expires() -> None:
    book = book_with(a_key(expires_us=NOW_US + 1))
    assert refused(book, TEXT, Scope.INVOKE, ECHO, NOW_US) == ""
    assert refused(book, TEXT, Scope.INVOKE, ECHO, NOW_US + 1) == ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize(
    ("has", "wants", "function", "may"),
    [
        (Scope.INVOKE, Scope.INVOKE, ECHO, True),
        (Scope.INVOKE, Scope.READ, ECHO, True),
        (Scope.INVOKE, Scope.READ, None, False),
        (Scope.INVOKE, Scope.MANAGE, ECHO, False),
        (Scope.READ, Scope.READ, None, True),
        (Scope.READ, Scope.INVOKE, ECHO, False),
        (Scope.READ, Scope.MANAGE, ECHO, False),
        (Scope.MANAGE, Scope.MANAGE, None, True),
        (Scope.MANAGE, Scope.READ, None, True),
        (Scope.MANAGE, Scope.INVOKE, ECHO, False),
    ],
)
def test_a_scope_allows_what_it_says(has: Scope, wants: Scope, function: FunctionName | None, may: bool) -> None:
    expected = "" if may else ErrorCode.FORBIDDEN
    assert refused(book_with(a_key(has)), TEXT, wants, function) == expected


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_for_one_function_is_about_no_other_and_not_about_all(scope: Scope) -> None:
    book = book_with(a_key(*Scope, functions=(ECHO,)))
    assert refused(book, TEXT, scope, ECHO) == ""
    assert refused(book, TEXT, scope, OTHER) == ErrorCode.FORBIDDEN
    assert refused(book, TEXT, scope, None) == ErrorCode.FORBIDDEN


def test_a_rate_allows_a_burst_and_then_one_at_a_time() -> None:
    book = book_with(a_key(limits=KeyLimits(rate_rps=2.0, burst=3)))
    assert let_in(book, 10) == 3
    error = book.admit(TEXT, Scope.INVOKE, ECHO, NOW_US)
    assert error is not None
    assert (error.code, error.retry_after_ms) == (ErrorCode.OVERLOADED, 500)
    assert let_in(book, 10, NOW_US + US_PER_S // 2) == 1
    assert let_in(book, 10, NOW_US + 100 * US_PER_S) == 3


def test_a_day_allows_so_many_and_the_next_as_many_again() -> None:
    book = book_with(a_key(limits=KeyLimits(per_day=4)))
    assert let_in(book, 10) == 4
    error = book.admit(TEXT, Scope.INVOKE, ECHO, NOW_US + DAY_US - 5_000_000)
    assert error is not None
    assert (error.code, error.retry_after_ms) == (ErrorCode.OVERLOADED, 5_000)
    assert let_in(book, 10, NOW_US + DAY_US) == 4


def test_looking_and_being_refused_count_for_nothing() -> None:
    book = book_with(a_key(Scope.INVOKE, limits=KeyLimits(per_day=1)))
    assert refused(book, TEXT, Scope.READ, ECHO) == ""
    assert refused(book, TEXT, Scope.MANAGE, ECHO) == ErrorCode.FORBIDDEN
    assert refused(book, TEXT[:-1] + "0", Scope.INVOKE, ECHO) == ErrorCode.UNAUTHORIZED
    assert book.take_uses() == []
    assert let_in(book, 2) == 1


def test_what_is_left_is_told_by_the_nearer_limit() -> None:
    book = book_with(a_key(limits=KeyLimits(rate_rps=1.0, burst=2, per_day=10)))
    assert book.left(TEXT, NOW_US) == KeyLeft(2, 2, 0)
    assert let_in(book, 1) == 1
    assert book.left(TEXT, NOW_US) == KeyLeft(2, 1, 1)
    later_us = NOW_US
    for _ in range(8):
        later_us += US_PER_S
        assert let_in(book, 1, later_us) == 1
    assert book.left(TEXT, later_us + US_PER_S) == KeyLeft(10, 1, 24 * 3600 - 9)
    assert book.left(None, NOW_US) is None
    assert book_with(a_key()).left(TEXT, NOW_US) is None


def test_changed_limits_hold_from_now_on_and_forget_nothing() -> None:
    book = book_with(a_key(limits=KeyLimits(per_day=4)))
    assert let_in(book, 3) == 3
    book.key_known(a_key(limits=KeyLimits(per_day=5)), NOW_US)
    assert let_in(book, 9) == 2


def test_a_gateway_that_starts_again_goes_on_counting() -> None:
    book = book_with(a_key(limits=KeyLimits(per_day=4)))
    assert let_in(book, 3) == 3
    (use,) = book.take_uses()
    again = book_with(a_key(limits=KeyLimits(per_day=4)))
    again.use_told(use, NOW_US)
    assert let_in(again, 9) == 1
    assert again.take_uses() == [KeyUse(key=ID, gateway=HERE, taken=4, day=20_000, today=4)]


def test_what_other_gateways_let_in_is_paid_back() -> None:
    limits = KeyLimits(rate_rps=10.0, burst=10)
    here, there = book_with(a_key(limits=limits), HERE), book_with(a_key(limits=limits), THERE)
    there.use_told(KeyUse(key=ID, gateway=HERE), NOW_US)
    here.use_told(KeyUse(key=ID, gateway=THERE), NOW_US)
    assert let_in(here, 99) + let_in(there, 99) == 20
    tell(here, there, NOW_US)
    second_us = NOW_US + US_PER_S
    assert let_in(here, 99, second_us) == let_in(there, 99, second_us) == 0


def tell(one: KeyBook, other: KeyBook, now_us: int) -> None:
    mine, theirs = one.take_uses(), other.take_uses()
    for use in mine:
        other.use_told(use, now_us)
    for use in theirs:
        one.use_told(use, now_us)


@given(
    rate=st.floats(0.5, 50),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.integers(0, 2 * US_PER_S), st.integers(0, 1), st.integers(0, 30)), max_size=40),
)
def test_over_time_gateways_together_let_in_no_more_than_the_rate(
    rate: float, burst: int, steps: list[tuple[int, int, int]]
) -> None:
    """What was let in is at most the rate's, and for each gateway one burst."""
    limits = KeyLimits(rate_rps=rate, burst=burst)
    books = [book_with(a_key(limits=limits), gateway) for gateway in (HERE, THERE)]
    for book in books:
        for gateway in (HERE, THERE):
            book.use_told(KeyUse(key=ID, gateway=gateway), NOW_US)
    now_us, passed = NOW_US, 0
    for wait_us, which, tries in steps:
        now_us += wait_us
        passed += let_in(books[which], tries, now_us)
        tell(books[0], books[1], now_us)
        assert passed <= burst + (now_us - NOW_US) * rate / US_PER_S + 1e-6


@given(
    per_day=st.integers(1, 20),
    steps=st.lists(st.tuples(st.integers(0, DAY_US // 2), st.integers(0, 1), st.integers(0, 30)), max_size=20),
)
def test_in_no_day_do_gateways_together_let_in_more_than_the_quota(
    per_day: int, steps: list[tuple[int, int, int]]
) -> None:
    books = [book_with(a_key(limits=KeyLimits(per_day=per_day)), gateway) for gateway in (HERE, THERE)]
    now_us, passed = NOW_US, dict[int, int]()
    for wait_us, which, tries in steps:
        now_us += wait_us
        day = now_us // DAY_US
        passed[day] = passed.get(day, 0) + let_in(books[which], tries, now_us)
        tell(books[0], books[1], now_us)
    assert all(count <= per_day for count in passed.values())


def test_a_key_that_was_used_without_a_rate_has_all_of_it_when_it_gets_one() -> None:
    book = book_with(a_key())
    assert let_in(book, 1000) == 1000
    book.key_known(a_key(limits=KeyLimits(rate_rps=10.0)), NOW_US)
    assert let_in(book, 99) == 10


def test_gateways_of_long_ago_are_forgotten() -> None:
    book = book_with(a_key(limits=KeyLimits(per_day=9)))
    for day in range(100):
        now_us = NOW_US + day * DAY_US
        use = KeyUse(key=ID, gateway=GatewayId(f"life-{day}"), taken=3, day=now_us // DAY_US, today=3)
        book.use_told(use, now_us)
        assert let_in(book, 9, now_us) == 6
    assert len(book._entries[ID].others) <= 3


def test_a_request_that_is_asked_about_twice_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def counted(text: str, digest: str) -> bool:
        hashed.append(text)
        return is_key(text, digest)

    monkeypatch.setattr(keys, "is_key", counted)
    book = book_with(a_key(limits=KeyLimits(per_day=9)))
    for shown, passes in ((TEXT, True), (TEXT[:-1] + "0", False)):
        hashed.clear()
        assert (refused(book, shown, Scope.INVOKE, ECHO) == "") is passes
        assert (book.left(shown, NOW_US) is not None) is passes
        assert hashed == [shown]
    book.key_gone(ID)
    assert book.left(shown, NOW_US) is None


def test_every_door_finds_a_key_in_the_same_places() -> None:
    assert shown_key([("authorization", "bearer K "), ("x-api-key", "other")]) == "K"
    assert shown_key([("authorization", "Basic abc"), ("x-api-key", " K")]) == "K"
    assert shown_key([("authorization", "K")]) is None


def test_whom_no_request_would_help_is_refused_before_it_is_read() -> None:
    book = book_with(a_key(Scope.INVOKE, functions=(ECHO,), expires_us=NOW_US + 1, limits=KeyLimits(rate_rps=1)))
    for _ in range(3):
        assert book.hear(TEXT, Scope.INVOKE, NOW_US) is None
        assert book.hear(TEXT, Scope.READ, NOW_US) is None
    codes = [
        book.hear(None, Scope.READ, NOW_US),
        book.hear("K", Scope.READ, NOW_US),
        book.hear(TEXT, Scope.READ, NOW_US + 1),
        book.hear(TEXT, Scope.MANAGE, NOW_US),
    ]
    assert [error.code for error in codes if error is not None] == [ErrorCode.UNAUTHORIZED] * 3 + [ErrorCode.FORBIDDEN]
    assert KeyBook(HERE).hear(None, Scope.MANAGE, NOW_US) is None
