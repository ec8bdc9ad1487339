"""Lines of the simulator are read back as they were told; anything else on its output is passed over."""

from fastgshare.shared.simulated import Advanced, Noted, Planned, Told, Tried, line_of, told_by


def test_what_was_told_is_read_back() -> None:
    tried = Tried(devices=2, used=1, is_enough=True, device_seconds=3.5, late_share=0.0)
    lines: list[Told] = [
        Advanced(at_s=1.5, requests=7),
        Noted(text="a\nb"),
        Planned(policy="p", devices=2, kind="v100", tried=(tried,)),
    ]
    for told in lines:
        line = line_of(told)
        assert line.count(b"\n") == 1
        assert list(told_by(line)) == [told]


def test_other_lines_are_passed_over() -> None:
    for line in (b"", b"hello\n", b'{"told": "else"}\n', b"\xff\n", b"[1]\n"):
        assert list(told_by(line)) == []
