"""What each drawing shows."""

from scripts.pictures.canvas import Canvas

CHUNKS = 16
KINDS = {  # of the paper's mix of eight replicas: letter, colour, chunks, share of time
    "ResNet-50": ("A", "first", 2, 0.4),
    "RNN-T": ("B", "third", 4, 0.4),
    "BERT": ("C", "second", 8, 0.6),
}


def services() -> Canvas:
    """Who speaks to whom."""
    canvas = Canvas(760, 330, "Clients, services and devices, and what passes between them")
    canvas.named(20, 40, 120, 54, "panel", "Client", "NATS, HTTP")
    canvas.named(240, 40, 130, 54, "first", "Gateway", "admits, routes")
    canvas.named(500, 40, 240, 54, "second", "Device worker", "tokens, batches, weights")
    canvas.named(500, 190, 240, 54, "second", "Node manager", "owns a host's devices")
    canvas.named(240, 190, 130, 54, "third", "Scheduler", "how many, where")
    canvas.named(20, 190, 130, 54, "fourth", "Profiler", "measures models")
    canvas.arrow(140, 60, 238, 60)
    canvas.text(189, 52, "request", colour="faint", size=12, at="middle")
    canvas.arrow(370, 60, 498, 60)
    canvas.text(434, 52, "work", colour="faint", size=12, at="middle")
    canvas.line(620, 38, 620, 16)
    canvas.line(620, 16, 80, 16)
    canvas.arrow(80, 16, 80, 38)
    canvas.text(350, 11, "the answer goes straight to the caller", colour="faint", size=12, at="middle")
    canvas.arrow(305, 94, 305, 188)
    canvas.text(313, 145, "load, demand", colour="faint", size=12)
    canvas.arrow(370, 206, 498, 206)
    canvas.text(434, 198, "placements", colour="faint", size=12, at="middle")
    canvas.arrow(498, 230, 372, 230)
    canvas.text(434, 246, "status, replicas", colour="faint", size=12, at="middle")
    canvas.arrow(150, 217, 238, 217)
    canvas.text(194, 209, "profiles", colour="faint", size=12, at="middle")
    canvas.arrow(620, 188, 620, 96)
    canvas.text(628, 145, "starts, ends, watches", colour="faint", size=12)
    canvas.named(
        20, 280, 720, 34, "panel", "NATS with JetStream: subjects, buckets, streams, the object store", size=12
    )
    for x in (85, 305, 620):
        canvas.line(x, 244, x, 280, dashed=True)
    return canvas


def sharing() -> Canvas:
    """The paper's eight replicas: time shared alone, and space and time shared."""
    canvas = Canvas(760, 350, "Eight replicas: four devices when time alone is shared, one when SMs are shared as well")
    canvas.text(20, 24, "Time alone is shared: four devices", bold=True)
    pairs = [("BERT", "ResNet-50"), ("BERT", "ResNet-50"), ("ResNet-50", "ResNet-50"), ("RNN-T", "RNN-T")]
    for index, pair in enumerate(pairs):
        _stacked(canvas, 20 + index * 96, 44, 84, 240, pair)
    canvas.text(20, 304, "Each replica has all SMs while it runs and uses a part of them;", colour="faint", size=12)
    canvas.text(20, 320, "the rest idles.", colour="faint", size=12)
    left, width, top, height = 450, 290, 44, 240
    canvas.text(left, 24, "SMs and time are shared: one device", bold=True)
    _device(canvas, left, top, width, height)
    unit = width / CHUNKS
    for index in range(2):
        _replica(canvas, left + index * 8 * unit, top + 0.4 * height, 8 * unit, 0.6 * height, "BERT")
        _replica(canvas, left + (8 + index * 4) * unit, top, 4 * unit, 0.4 * height, "RNN-T")
    for index in range(4):
        _replica(canvas, left + index * 2 * unit, top, 2 * unit, 0.4 * height, "ResNet-50")
    canvas.text(left + width / 2, 304, "SMs, in 16 chunks  →", colour="faint", size=12, at="middle")
    canvas.text(left - 8, top + height, "0", colour="faint", size=12, at="end")
    canvas.text(left - 8, top + 10, "1", colour="faint", size=12, at="end")
    canvas.text(left - 8, top + height / 2, "time", colour="faint", size=12, at="end")
    for index, (name, (letter, colour, chunks, share)) in enumerate(KINDS.items()):
        canvas.box(20 + index * 235, 331, 12, 12, colour)
        words = f"{letter}  {name}: {chunks} chunks × {share}"  # noqa: RUF001  # the sign is meant
        canvas.text(38 + index * 235, 341, words, size=12)
    return canvas


def tokens() -> Canvas:
    """Two replicas on the same chunks over three windows."""
    canvas = Canvas(760, 230, "Two replicas on the same chunks over three windows of 100 ms")
    canvas.text(20, 24, "The same chunks over three windows of 100 ms", bold=True)
    unit, left = 2.2, 60
    runs = [  # replica, from ms, to ms, spare
        ("A", 0, 30, False), ("B", 30, 50, False), ("A", 50, 80, False), ("B", 80, 100, False),
        ("A", 100, 135, False), ("B", 135, 155, False), ("A", 155, 175, False), ("B", 175, 200, False),
        ("A", 200, 260, False), ("A", 260, 300, True),
    ]  # fmt: skip
    for name, start, end, spare in runs:
        top = 60 if name == "A" else 110
        colour = "panel" if spare else ("first" if name == "A" else "second")
        canvas.box(left + start * unit, top, (end - start) * unit, 36, colour, round_by=2)
    canvas.text(20, 83, "A", bold=True)
    canvas.text(20, 133, "B", bold=True)
    for index in range(4):
        x = left + index * 100 * unit
        canvas.line(x, 46, x, 160, dashed=True)
        canvas.text(x, 176, f"{index * 100} ms", colour="faint", size=12, at="middle")
    canvas.text(left + 117 * unit, 56, "5 ms over", colour="accent", size=12, at="middle")
    canvas.text(left + 165 * unit, 56, "paid back", colour="accent", size=12, at="middle")
    canvas.text(left + 280 * unit, 82, "spare", colour="ink", size=12, at="middle")
    canvas.text(left + 250 * unit, 132, "B has no work", colour="faint", size=12, at="middle")
    canvas.text(
        20, 204, "A is promised 0.6, B 0.4. What a batch takes beyond its share is charged and paid back;", size=12
    )
    canvas.text(20, 221, "what nobody uses goes to whoever has work, up to its limit.", size=12)
    return canvas


def request() -> Canvas:
    """Where the time of one request goes."""
    canvas = Canvas(
        760, 210, "One request over time: admission, routing, preprocessing, queue, token, execution, answer"
    )
    canvas.text(20, 24, "One request, from its arrival to its answer", bold=True)
    stages = [
        ("admit", "gateway", 20, 60, "first"),
        ("route", "gateway", 82, 60, "first"),
        ("preprocess", "handler process", 144, 96, "fourth"),
        ("queue", "joins a batch", 242, 110, "panel"),
        ("token", "its slice's turn", 354, 90, "third"),
        ("execute", "the batch runs", 446, 130, "second"),
        ("postprocess", "", 578, 86, "fourth"),
    ]
    for name, told, left, width, colour in stages:
        canvas.named(left, 56, width, 44, colour, name, size=12)
        canvas.text(left + width / 2, 118, told, colour="faint", size=11, at="middle")
    canvas.arrow(666, 78, 684, 78)
    canvas.text(688, 82, "answer", size=12)
    canvas.line(742, 44, 742, 150, "accent", dashed=True)
    canvas.text(738, 164, "objective", colour="accent", size=12, at="end")
    canvas.line(20, 140, 742, 140, "line")
    words = "A request that cannot be answered by its deadline is refused at its arrival, with a time to try again."
    canvas.text(20, 196, words, size=12)
    return canvas


def surface() -> Canvas:
    """Throughput over SMs at three quotas, of the shipped curve of ResNet-50."""
    canvas = Canvas(760, 330, "Throughput of ResNet-50 over the share of SMs at three quotas")
    left, top, width, height, most = 70, 44, 560, 230, 80.0
    full = {6: 49.9, 12: 68.6, 24: 73.4, 50: 74.1, 100: 74.9}
    canvas.text(20, 24, "ResNet-50 on a V100: requests a second, as published; below quota 1 in proportion", bold=True)
    for rps in (0, 20, 40, 60, 80):
        y = top + height * (1 - rps / most)
        canvas.line(left, y, left + width, y, "line")
        canvas.text(left - 8, y + 4, str(rps), colour="faint", size=12, at="end")
    for sm in full:
        canvas.text(left + width * sm / 100, top + height + 18, str(sm), colour="faint", size=12, at="middle")
    canvas.text(left + width / 2, top + height + 38, "percent of the SMs", colour="faint", size=12, at="middle")
    for quota, colour in ((1.0, "second"), (0.6, "third"), (0.2, "first")):
        points = [(left + width * sm / 100, top + height * (1 - rps * quota / most)) for sm, rps in full.items()]
        canvas.curve(points, colour)
        canvas.text(left + width + 10, points[-1][1] + 4, f"quota {quota:g}", size=12)
    x, y = left + width * 0.12, top + height * (1 - 68.6 / most)
    canvas.arrow(x + 70, y + 118, x + 5, y + 9)
    canvas.text(x + 76, y + 126, "an eighth of the SMs: nine tenths of the throughput", size=12)
    return canvas


def scaling() -> Canvas:
    """A load that rises, and what the scheduler does about it."""
    canvas = Canvas(760, 240, "A load rises: quotas grow, then slices are added; it falls: they leave in reverse")
    canvas.text(20, 24, "A device as the load of A rises and falls", bold=True)
    steps = [
        ("20 req/s", [("A", 4, 0.5)]),
        ("40 req/s", [("A", 4, 1.0)]),
        ("110 req/s", [("A", 4, 1.0), ("A", 4, 1.0), ("A", 4, 0.7)]),
        ("30 req/s", [("A", 4, 0.8)]),
        ("none", []),
    ]
    told = ["promised little", "its quota grows", "slices are added", "they leave", "none, if min is 0"]
    for index, ((load, held), words) in enumerate(zip(steps, told, strict=True)):
        left = 20 + index * 148
        _device(canvas, left, 44, 128, 128)
        for place, (letter, chunks, share) in enumerate(held):
            x = left + place * chunks * 8
            canvas.named(x, 172 - 128 * share, chunks * 8, 128 * share, "first", letter)
        canvas.text(left + 64, 192, load, size=12, at="middle", bold=True)
        canvas.text(left + 64, 210, words, colour="faint", size=12, at="middle")
    canvas.text(20, 232, "x: chunks of SMs, y: share of time", colour="faint", size=12)
    return canvas


DRAWINGS = {
    "services": services,
    "sharing": sharing,
    "tokens": tokens,
    "request": request,
    "surface": surface,
    "scaling": scaling,
}


def _device(canvas: Canvas, left: float, top: float, width: float, height: float) -> None:
    canvas.box(left, top, width, height, "panel", round_by=2)


def _replica(canvas: Canvas, left: float, top: float, width: float, height: float, kind: str) -> None:
    letter, colour, _, _ = KINDS[kind]
    canvas.named(left, top, width, height, colour, letter)


def _stacked(canvas: Canvas, left: float, top: float, width: float, height: float, kinds: tuple[str, ...]) -> None:
    """A device whose replicas have all of it, in turns; the part they use is coloured."""
    _device(canvas, left, top, width, height)
    bottom = top + height
    for kind in kinds:
        _, _, chunks, share = KINDS[kind]
        bottom -= share * height
        canvas.dashed(left, bottom, width, share * height)
        _replica(canvas, left, bottom, width * chunks / CHUNKS, share * height, kind)
