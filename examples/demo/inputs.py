"""The demo's real inputs, each with its right answer; the same checkout and seed always give the same inputs.

Files come from the checkout and from Python's own writers of binary formats; lines of text are drawn with
Pillow's default font. Answers follow from how an input was made, never from what a model said of it.
"""

import bz2
import gzip
import io
import lzma
import marshal
import os
import pickle
import random
import sqlite3
import sys
import tarfile
import wave
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TYPE_BY_SUFFIX = {
    ".bash": "shell",
    ".css": "css",
    ".csv": "csv",
    ".html": "html",
    ".ini": "ini",
    ".js": "javascript",
    ".json": "json",
    ".md": "markdown",
    ".proto": "proto",
    ".py": "python",
    ".pyi": "python",
    ".sh": "shell",
    ".svg": "svg",
    ".toml": "toml",
    ".ts": "typescript",
    ".txt": "txt",
    ".yaml": "yaml",
    ".yml": "yaml",
}
TYPE_BY_NAME = {"Dockerfile": "dockerfile", "LICENSE": "txt", "Makefile": "makefile"}
MADE_BY_TOOLS = {"__pycache__", "build", "dist", "node_modules", "reports"}
SHORTEST_BYTES = 8  # the model is not made for less, and the handler refuses it
ELF_BYTES = 64 * 1024

FONT_PX = 32
MARGIN_PX = 4
INKS = ("black", "#1b2a49", "#5b1a18", "#12402a")
PAPERS = ("white", "#f6f1e3", "#e8eef5")
WORDS = Path(__file__).with_name("words.txt").read_text().split()


@dataclass(frozen=True)
class Example:
    """One request to a function of the demo, and the only right value of the output `answer`."""

    function: str
    name: str
    inputs: dict[str, np.ndarray]
    answer: str
    expected: str

    def is_right(self, outputs: Mapping[str, np.ndarray]) -> bool:
        """Whether these outputs carry the right answer; runs of white space count as one space."""
        return " ".join(outputs[self.answer][0].decode().split()) == self.expected


def all_examples(root: Path, seed: int, lines: int = 60) -> dict[str, list[Example]]:
    """The examples of each function: every known file under `root`, and this many lines of text."""
    return {
        "filetype": [*repository_files(root), *made_files(seed)],
        "ocr": list(text_lines(seed, lines)),
        "textdir": list(turned_lines(seed, lines)),
    }


def repository_files(root: Path) -> Iterator[Example]:
    """The files under `root` whose name tells their type, except hidden, made and nearly empty ones."""
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = sorted(
            name for name in subdirectories if not name.startswith(".") and name not in MADE_BY_TOOLS
        )
        for name in sorted(names):
            path = Path(directory, name)
            expected = TYPE_BY_NAME.get(name) or TYPE_BY_SUFFIX.get(path.suffix)
            if expected is None or path.is_symlink():
                continue
            content = path.read_bytes()
            if len(content.strip()) >= SHORTEST_BYTES:
                yield file_example(str(path.relative_to(root)), content, expected)


def made_files(seed: int) -> Iterator[Example]:
    """Files of common binary formats, written here."""
    text = "\n".join(text_of_line(random.Random(f"{seed} {number}")) for number in range(40)).encode()
    made = {
        "bzip": bz2.compress(text),
        "elf": executable_start(),
        "gzip": gzip.compress(text, mtime=0),
        "npy": npy_file(seed),
        "pdf": pdf_file(text.split(b"\n")[0]),
        "pickle": pickle.dumps({"lines": text.split(b"\n"), "seed": seed}),
        "pythonbytecode": MAGIC_NUMBER + bytes(12) + compiled_source(),
        "sqlite": sqlite_file(text.decode().split("\n")),
        "tar": tar_file(text),
        "wav": wav_file(seed),
        "xz": lzma.compress(text),
        "zip": zip_file(text),
    }
    image = Image.fromarray(draw_line("A line of text", "black", "white"))
    made |= {kind: image_file(image, kind) for kind in ("bmp", "gif", "jpeg", "png", "tiff", "webp")}
    for kind, content in sorted(made.items()):
        yield file_example(f"made here: {kind}", content, kind)


def file_example(name: str, content: bytes, expected: str) -> Example:
    """A request to `filetype`."""
    inputs = {"file": np.array([content], dtype=object)}
    return Example("filetype", name, inputs, answer="label", expected=expected)


def text_lines(seed: int, count: int) -> Iterator[Example]:
    """Drawn lines of text for `ocr`."""
    for number in range(count):
        text, image = drawn(seed, number)
        yield Example("ocr", text, {"image": image}, answer="text", expected=text)


def turned_lines(seed: int, count: int) -> Iterator[Example]:
    """The same lines for `textdir`, each upright or upside down."""
    for number in range(count):
        text, image = drawn(seed, number)
        turned = random.Random(f"turn {seed} {number}").random() < 0.5
        image = np.ascontiguousarray(image[::-1, ::-1]) if turned else image
        yield Example("textdir", text, {"image": image}, answer="label", expected="180" if turned else "0")


def drawn(seed: int, number: int) -> tuple[str, np.ndarray]:
    """A line of text and its image."""
    choice = random.Random(f"{seed} {number}")
    text = text_of_line(choice)
    return text, draw_line(text, choice.choice(INKS), choice.choice(PAPERS))


def text_of_line(choice: random.Random) -> str:
    """Two to five words as a sentence, a title, with a number, or plain."""
    words = choice.sample(WORDS, choice.randint(2, 5))
    style = choice.choice(("sentence", "title", "number", "plain"))
    if style == "sentence":
        return " ".join(words).capitalize() + choice.choice(".?!")
    if style == "title":
        return " ".join(words).title()
    if style == "number":
        return " ".join([*words[:3], str(choice.randint(100, 99999))])
    return " ".join(words)


def draw_line(text: str, ink: str, paper: str) -> np.ndarray:
    """The text on one line: uint8 [height, width, 3]."""
    font = ImageFont.load_default(size=FONT_PX)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    ascent, descent = font.getmetrics()
    size = (round(font.getlength(text)) + 2 * MARGIN_PX, ascent + descent + 2 * MARGIN_PX)
    image = Image.new("RGB", size, paper)
    ImageDraw.Draw(image).text((MARGIN_PX, MARGIN_PX), text, fill=ink, font=font)
    return np.asarray(image)


def image_file(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind)
    return file.getvalue()


def npy_file(seed: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).normal(size=(16, 16)))
    return file.getvalue()


def zip_file(text: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("first.txt", "second.txt"):
            archive.writestr(zipfile.ZipInfo(name), text)  # without a ZipInfo it would carry today's date
    return file.getvalue()


def tar_file(text: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("lines.txt")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return file.getvalue()


def wav_file(seed: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        tone = 8000 * np.sin(np.arange(4000) * (0.05 + seed % 100 / 1000))
        sound.writeframes(tone.astype("<i2").tobytes())
    return file.getvalue()


def sqlite_file(lines: list[str]) -> bytes:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("create table lines (number integer primary key, line text)")
        connection.executemany("insert into lines (line) values (?)", [(line,) for line in lines])
        connection.commit()
        return connection.serialize()
    finally:
        connection.close()


def pdf_file(line: bytes) -> bytes:
    """One page with one line of text: objects, their offsets, trailer (ISO 32000-1, annex H.2)."""
    stream = b"BT /F1 24 Tf 72 720 Td (" + line + b") Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    file, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return file + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, table, len(objects) + 1, len(file))
    )


def compiled_source() -> bytes:
    """This module's code, compiled under a name that is the same wherever the checkout lies."""
    return marshal.dumps(compile(Path(__file__).read_bytes(), "inputs.py", "exec"))


def executable_start() -> bytes:
    """The beginning of the running interpreter's own file."""
    with open(sys.executable, "rb") as file:
        return file.read(ELF_BYTES)
