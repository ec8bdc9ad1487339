"""A collector for tests and benchmarks: a process of its own that takes OTLP over HTTP, and tells what it was sent.

`python -m benchmarks.otlp_receiver` prints its port; `POST /v1/traces` takes protobuf as the standard says.
`GET /spans` gives them all as JSON, `GET /traces` the ids of their traces. `run_receiver` is the way to have one.
"""

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from fastgshare.shared.children import die_with_parent
from fastgshare.shared.typed import decode_json

ROOT = Path(__file__).parents[1]
STOP_S = 20.0
PATIENCE_S = 20.0


class Seen(msgspec.Struct, frozen=True):
    """A span as it was received. `links` are (trace, span) pairs, `resource` and `attributes` plain values."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    start_ns: int
    end_ns: int
    attributes: dict[str, str | int | float | bool]
    resource: dict[str, str | int | float | bool]
    links: list[tuple[str, str]]
    is_error: bool

    @property
    def service(self) -> str:
        """Whose it is."""
        return str(self.resource["service.name"])


class Receiver:
    """A running one. Made by `run_receiver`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=self.url, timeout=PATIENCE_S, verify=False)

    def spans(self, trace_id: str = "") -> list[Seen]:
        """What it was sent so far, of one trace or of all."""
        seen = decode_json(list[Seen], self._http.get("/spans").content)
        return [span for span in seen if not trace_id or span.trace_id == trace_id]

    def trace_ids(self) -> set[str]:
        """The traces that it was sent spans of."""
        return set(decode_json(list[str], self._http.get("/traces").content))

    def close(self) -> None:
        """Let go of the connection to it."""
        self._http.close()


@contextmanager
def run_receiver() -> Iterator[Receiver]:
    """A receiver on a port nobody else has; after it nothing of it runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.otlp_receiver"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509
    )
    assert process.stdout is not None
    try:
        receiver = Receiver(int(process.stdout.readline()))
        try:
            yield receiver
        finally:
            receiver.close()
    finally:
        process.terminate()
        process.wait(STOP_S)
        process.stdout.close()


def main() -> None:
    """Serve until ended."""
    spans: list[Seen] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
                self._answer(404, b"", "text/plain")
                return
            spans.extend(_read(ExportTraceServiceRequest.FromString(body)))
            self._answer(200, ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")

        def do_GET(self) -> None:
            found = sorted({span.trace_id for span in list(spans)}) if self.path == "/traces" else list(spans)
            self._answer(200, msgspec.json.encode(found), "application/json")

        def log_message(self, *_: Any) -> None:
            return

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def _read(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for of_resource in request.resource_spans:
        resource = _plain(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Seen(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=_plain(span.attributes),
                    resource=resource,
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


if __name__ == "__main__":
    main()
