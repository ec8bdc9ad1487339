"""The demo's picture of the device: shares of each chunk's time as bands, a column a second."""

from examples.demo.rectangles import BANDS, FREE, Held, Moment, bands, changes, letters, moment
from fastgshare.shared.ids import DeviceId, Digest, FunctionName, HostId, NodeId, ReplicaId
from fastgshare.shared.messages import ReplicaState, ReplicaStatus, Slice

S = 1_000_000


def status(
    function: str, *chunks: int, quota: float = 0.4, state: ReplicaState = ReplicaState.READY, loan: str = ""
) -> ReplicaStatus:
    return ReplicaStatus(
        replica=ReplicaId(f"{function}-{chunks}"),
        function=FunctionName(function),
        generation=1,
        node=NodeId("local"),
        device=DeviceId("cpu0"),
        host=HostId("h"),
        incarnation="i",
        state=state,
        device_kind="cpu",
        model_digest=Digest("d"),
        chunks=chunks,
        slice=Slice(quota_request=quota),
        loan=loan,
    )


def held(function: str, chunk: int, quota: float) -> Held:
    return Held(function, f"{function}-{chunk}", "cpu0", (chunk,), quota)


def test_a_moment_has_what_serves_and_neither_loans_nor_what_loads() -> None:
    seen = moment(
        5, [status("b", 1), status("a", 0), status("c", 0, state=ReplicaState.LOADING), status("d", 0, loan="l")]
    )
    assert seen.at_us == 5
    assert [each.function for each in seen.held] == ["a", "b"]


def test_bands_show_shares_from_the_bottom_and_what_is_free_above() -> None:
    moments = [Moment(0, (held("ocr", 0, 0.3), held("type", 0, 0.5))), Moment(2 * S, (held("ocr", 0, 1.0),))]
    lines = bands(moments, 4.0, ("ocr", "type"))["cpu0 0"]
    assert len(lines) == BANDS
    assert lines[-1] == "OOOO"
    assert lines[0] == f"{FREE}{FREE}OO"
    assert "".join(line[0] for line in lines) == FREE * 2 + "T" * 5 + "O" * 3


def test_a_wide_replica_is_on_all_its_chunks() -> None:
    wide = Held("ocr", "ocr-1", "cpu0", (0, 1), 0.6)
    pictures = bands([Moment(0, (wide,))], 1.0, ("ocr",))
    assert list(pictures) == ["cpu0 0", "cpu0 1"]
    assert all("".join(lines).count("O") == 6 for lines in pictures.values())


def test_nothing_seen_is_nothing_drawn() -> None:
    assert bands([], 10.0, ("ocr",)) == {}
    assert changes([]) == {}


def test_two_functions_of_one_initial_get_two_letters() -> None:
    assert letters(["ocr", "other", "o"]) == {"ocr": "O", "other": "T", "o": "2"}


def test_changes_count_replicas_that_came_or_went_and_slices_that_changed_in_place() -> None:
    moments = [
        Moment(0, (held("ocr", 0, 0.3),)),
        Moment(1, (held("ocr", 0, 0.5),)),
        Moment(2, (held("ocr", 0, 0.5), held("ocr", 1, 0.5))),
        Moment(3, (held("ocr", 1, 0.5),)),
    ]
    assert changes(moments) == {"ocr": (2, 2, 1)}
