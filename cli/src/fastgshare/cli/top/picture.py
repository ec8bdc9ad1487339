"""A device as a picture in characters: its chunks of SMs from left to right, their time from below. Pure.

Every rectangle says whose it is with a letter, not with its colour alone, and is a row high at least; one whose owner
runs as this is seen is lit and has a mark. The part of it that was used of late is lighter than the rest. What is on
loan is shaded; over others, in a row of theirs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.style import Style
from rich.text import Text

from fastgshare.cli.top.figures import whole_percent
from fastgshare.cli.top.marks import Mark, Marks
from fastgshare.shared.overview.view import DeviceView, Piece, ReplicaView

FREE = "·"
FREE_STYLE = Style(dim=True)
RUNS = "▶"
LOAN = "░"
MOST_COLUMNS_A_CHUNK = 40
_HALF = 0.5


class Part(NamedTuple):
    """One piece of one replica's rectangle, by their positions in the device's list."""

    replica: int
    piece: int


Cells = list[list[Part | None]]
"""By row from above, then by chunk."""


def draw(device: DeviceView, width: int, height: int, marks: Marks) -> list[Text]:
    """The device in so many rows, each at most `width` columns wide."""
    if device.chunks < 1 or width < 1 or height < 1:
        return []
    cells = _cells(device, height)
    columns = _columns(device.chunks, width)
    words = {index: _words(replica, marks.of(replica.function)) for index, replica in enumerate(device.replicas)}
    tops = _tops(cells)
    return [_line(device, row, height, cells[row], columns, words, tops, marks) for row in range(height)]


def _columns(chunks: int, width: int) -> list[int]:
    """The chunk that each column shows."""
    if chunks > width:
        return [column * chunks // width for column in range(width)]
    each = min(MOST_COLUMNS_A_CHUNK, width // chunks)
    return [chunk for chunk in range(chunks) for _ in range(each)]


def _cells(device: DeviceView, height: int) -> Cells:
    """Whose most of each cell is; whoever would have none gets one of somebody who has more."""
    cells: Cells = [[None] * device.chunks for _ in range(height)]
    by_chunk: dict[int, list[tuple[Part, Piece]]] = {}
    for index, replica in enumerate(device.replicas):
        for number, piece in enumerate(replica.pieces):
            for chunk in range(piece.chunk, min(device.chunks, piece.chunk + piece.chunks)):
                by_chunk.setdefault(chunk, []).append((Part(index, number), piece))
    for chunk, parts in by_chunk.items():
        column = _column(parts, height)
        for row, part in enumerate(reversed(column)):
            cells[row][chunk] = part
    return cells


def _column(parts: Sequence[tuple[Part, Piece]], height: int) -> list[Part | None]:
    """One chunk's cells from below."""
    column: list[Part | None] = []
    for row in range(height):
        shares = [(_overlap(piece, row, height), -piece.bottom, part) for part, piece in parts]
        most = max(shares, default=None)
        column.append(most[2] if most is not None and most[0] >= _HALF - 1e-9 else None)
    has = Counter(column)
    for part, piece in parts:
        spare = [row for row in range(height) if column[row] is None or has[column[row]] > 1]
        if not has[part] and spare:
            middle = min(height - 1, int((piece.bottom + piece.height / 2) * height))
            row = min(spare, key=lambda row: abs(row - middle))
            has[column[row]] -= 1
            column[row] = part
            has[part] = 1
    return column


def _overlap(piece: Piece, row: int, height: int) -> float:
    """What share of the cell of a row, from below, a piece covers."""
    low, high = max(piece.bottom * height, row), min((piece.bottom + piece.height) * height, row + 1)
    return max(0.0, high - low)


def _tops(cells: Cells) -> dict[Part, int]:
    """The row that each part begins in: there its words are."""
    tops: dict[Part, int] = {}
    for row, chunks in enumerate(cells):
        for part in chunks:
            if part is not None:
                tops.setdefault(part, row)
    return tops


def _words(replica: ReplicaView, mark: Mark) -> tuple[str, ...]:
    """What a rectangle says, from the longest to the shortest."""
    runs = RUNS if replica.is_running else ""
    letter = f"{mark.letter}{runs}"
    had = whole_percent(replica.had)
    of = "loan" if replica.is_loan else f"of {whole_percent(replica.quota_request)}"
    state = "" if replica.state == "ready" else f" {replica.state}"
    return (
        f" {letter} {replica.function}{state} {had} {of}",
        f" {letter} {replica.function} {had}",
        f" {letter} {had}",
        f"{letter} {had}",
        letter,
        mark.letter,
    )


def _line(
    device: DeviceView,
    row: int,
    height: int,
    chunks: Sequence[Part | None],
    columns: Sequence[int],
    words: Mapping[int, tuple[str, ...]],
    tops: Mapping[Part, int],
    marks: Marks,
) -> Text:
    line = Text(no_wrap=True, end="")
    at = 0
    while at < len(columns):
        part = chunks[columns[at]]
        end = at
        while end < len(columns) and chunks[columns[end]] == part:
            end += 1
        if part is None:
            line.append(FREE * (end - at), FREE_STYLE)
        else:
            replica = device.replicas[part.replica]
            own = words[part.replica] if tops[part] == row else words[part.replica][-1:]
            style = _style(replica, part.piece, (height - row - 1) / height, marks.of(replica.function))
            line.append(_filled(own, end - at, replica), style)
        at = end
    return line


def _filled(words: Sequence[str], width: int, replica: ReplicaView) -> str:
    fill = LOAN if replica.is_loan else " "
    text = next((text for text in words if len(text) <= width), words[-1])
    text = f" {text}" if len(words) == 1 and width > 1 else text
    return text[:width].ljust(width, fill)


def _style(replica: ReplicaView, number: int, low: float, mark: Mark) -> Style:
    """How a cell of a piece looks that begins at `low`: had time is drawn from below, piece by piece."""
    if replica.is_running:
        return Style(color="#000000", bgcolor=mark.colour, bold=True)
    piece = replica.pieces[number]
    below = sum(one.height for one in replica.pieces[:number] if one.chunk == piece.chunk)
    is_used = replica.had > 0 and max(low, piece.bottom) < piece.bottom + replica.had - below - 1e-9
    return Style(color="#FFFFFF", bgcolor=mark.used if is_used else mark.unused)


def caption(device: DeviceView) -> str:
    """A device's figures in a line."""
    figures = f"busy {whole_percent(device.busy)} promised {whole_percent(device.promised)}"
    memory = f" {device.used_mib:.0f}/{device.memory_mib:.0f} MiB" if device.memory_mib else ""
    return figures + memory


def title(device: DeviceView) -> str:
    """A device's name, kind and, where it has any, trouble."""
    chunks = f"{device.chunks} chunk{'' if device.chunks == 1 else 's'}"
    name = f"{device.device} · {device.kind} · {chunks}"
    return name if device.is_healthy else f"! {device.device}: {device.reason or 'not healthy'}"
