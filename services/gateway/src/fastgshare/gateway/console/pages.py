"""The page's files, read once; they come from here alone, and nothing on the page may come from elsewhere.

Every file is told by its content's digest, so that a browser asks again each time and fetches only what changed.
"""

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

INDEX = "index.html"
KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class _File(msgspec.Struct, frozen=True):
    content: bytes
    kind: str
    etag: str


class Pages:
    """Every file under `static`, by its name."""

    def __init__(self) -> None:
        self._files = {name: _told(name, content) for name, content in _read(files(__package__) / "static")}

    def names(self) -> list[str]:
        """Those that can be had."""
        return sorted(self._files)

    def response(self, name: str, request: Request) -> Response | None:
        """The file, or 304 where the caller has it; None when there is none of this name."""
        found = self._files.get(name)
        if found is None:
            return None
        headers = {**HEADERS, "etag": found.etag}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.kind)


def _read(directory: Traversable) -> Iterator[tuple[str, bytes]]:
    for entry in directory.iterdir():
        if entry.is_file() and entry.name.rpartition(".")[2] in KINDS:
            yield entry.name, entry.read_bytes()


def _told(name: str, content: bytes) -> _File:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(content, KINDS[name.rpartition(".")[2]], etag)
