"""Functions are defined, scaled and removed over HTTP, models stored; what is wrong is told by name."""

import errno
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from fastgshare.gateway.http import HttpSettings, uploads
from fastgshare.shared.buckets import RevisionConflict, StorageUnavailable
from fastgshare.shared.messages import FunctionSpec, ReplicaState
from tests.gateway.http.serving import (
    ECHO,
    SPEC,
    VIEW,
    Answer,
    FakeFunctions,
    FakeInvoker,
    Knock,
    knock,
    serving,
    until,
)

DEFINITION = {"name": "echo", "model": {"digest": "0" * 64, "size_bytes": 5}, "slo_ms": 20}


async def write(door: Knock, method: str, path: str, document: object) -> Answer:
    return await door.request(method, path, json.dumps(document).encode(), Content_Type="application/json")


async def test_a_function_is_defined_changed_scaled_and_removed() -> None:
    invoker, functions = FakeInvoker(VIEW), FakeFunctions()
    invoker.views.clear()
    async with serving(invoker, functions) as port, knock(port) as door:
        created = await write(door, "POST", "/v1/functions", DEFINITION)
        assert created.status == 201
        assert created.headers["location"] == "/v1/functions/echo"
        assert created.document["generation"] == 1
        invoker.views[ECHO] = VIEW
        changed = await write(door, "PUT", "/v1/functions/echo", {**DEFINITION, "max_batch": 4})
        assert (changed.status, changed.document["generation"]) == (200, 2)
        scaled = await write(door, "POST", "/v1/functions/echo/scale", {"replicas": 3})
        assert (scaled.status, scaled.document["generation"]) == (200, 2)
        assert functions.specs[ECHO].replicas == 3
        assert functions.specs[ECHO].slo_ms == 20
        removed = await door.request("DELETE", "/v1/functions/echo")
        assert removed.document == {"name": "echo", "removed": True}
        assert functions.specs == {}


async def test_what_was_told_can_be_written_back() -> None:
    functions = FakeFunctions()
    functions.specs[ECHO] = SPEC
    async with serving(FakeInvoker(), functions) as port, knock(port) as door:
        told = (await door.request("GET", "/v1/functions/echo")).document["spec"]
        assert msgspec.convert(told, FunctionSpec) == SPEC
        again = await write(door, "PUT", "/v1/functions/echo", told)
    assert again.document["spec"] == told


@pytest.mark.parametrize(
    ("method", "path", "document", "said"),
    [
        ("POST", "/v1/functions", [], "Expected `object`, got `array`"),
        ("POST", "/v1/functions", {}, "missing required field `name`"),
        ("POST", "/v1/functions", {**DEFINITION, "slo": 5}, "slo is not known; did you mean slo_ms?"),
        ("POST", "/v1/functions", {**DEFINITION, "slice": {"quota": 1}}, "slice.quota is not known"),
        ("POST", "/v1/functions", {**DEFINITION, "max_batch": "8"}, "Expected `int`, got `str` - at `$.max_batch`"),
        ("POST", "/v1/functions", {**DEFINITION, "max_batch": 0}, "max_batch is 0, expected 1 to"),
        ("PUT", "/v1/functions/other", DEFINITION, "name is 'echo', but the path says 'other'"),
        ("POST", "/v1/functions/echo/scale", {"replicas": -1}, "Expected `int` >= 0 - at `$.replicas`"),
        ("POST", "/v1/functions/echo/scale", {"replica": 1}, "replica is not known; did you mean replicas?"),
    ],
)
async def test_a_document_that_cannot_be_used_is_told_why(method: str, path: str, document: object, said: str) -> None:
    functions = FakeFunctions()
    async with serving(FakeInvoker(), functions) as port, knock(port) as door:
        answer = await write(door, method, path, document)
    assert answer.status == 400
    assert said in str(answer.document["error"])
    assert isinstance(answer.document["problems"], list)
    assert functions.specs == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "said"),
    [
        ("POST", "/v1/functions", b"{", {"Content_Type": "application/json"}, 400, "not JSON"),
        ("POST", "/v1/functions", b"\xff", {"Content_Type": "application/json"}, 400, "not JSON"),
        ("POST", "/v1/functions", b"{}", {"Content_Type": "text/plain"}, 415, "expected application/json"),
        ("POST", "/v1/functions", b"{}", {}, 415, "content-type is ''"),
        ("POST", "/v1/functions", b" " * 2000, {"Content_Type": "application/json"}, 413, "of 1000 bytes"),
        ("GET", "/v1/functions/nobody", b"", {}, 404, "no function is called 'nobody'"),
        ("DELETE", "/v1/functions/nobody", b"", {}, 404, "no function is called 'nobody'"),
        ("POST", "/v1/functions/nobody/scale", b'{"replicas":1}', {"Content_Type": "application/json"}, 404, "no"),
        ("PATCH", "/v1/functions/echo", b"", {}, 405, "only DELETE, GET, HEAD, PUT"),
        ("PUT", "/v1/functions", b"", {}, 405, "only GET, HEAD, POST"),
        ("PUT", "/v1/models", b"", {}, 400, "the body is empty"),
    ],
)
async def test_a_request_that_cannot_be_served_is_told_why(
    method: str, path: str, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    settings = HttpSettings(max_document_bytes=1000)
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as door:
        answer = await door.request(method, path, body, **headers)
    assert answer.status == status
    assert said in answer.error


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (RevisionConflict(bucket="functions", key="echo"), 409, "somebody else changed it"),
        (StorageUnavailable(bucket="functions", key="echo", reason="timeout"), 503, "storage does not answer: timeout"),
        (RuntimeError("secret"), 500, "internal error"),
    ],
)
async def test_faults_of_storage_have_their_status(fault: Exception, status: int, said: str) -> None:
    functions = FakeFunctions()
    functions.fault = fault
    async with serving(FakeInvoker(), functions) as port, knock(port) as door:
        answer = await write(door, "POST", "/v1/functions", DEFINITION)
        assert answer.status == status
        assert said in answer.error
        assert ("retry-after" in answer.headers) == (status == 503)
    async with serving(FakeInvoker(), functions) as port, knock(port) as door:
        assert (await door.request("DELETE", "/v1/functions/echo")).status == status


async def test_status_tells_this_gateway_and_every_function() -> None:
    failing = msgspec.structs.replace(VIEW, states={ReplicaState.FAILED: 1}, reasons=("no such input",))
    settings = HttpSettings(gateway="gateway-7")
    async with serving(FakeInvoker(failing), settings=settings) as port, knock(port) as door:
        status = (await door.request("GET", "/v1/status")).document
        listed = (await door.request("GET", "/v1/functions")).document
    assert (status["gateway"], status["ready"]) == ("gateway-7", True)
    assert status["functions"] == listed["functions"]
    (function,) = json.loads(json.dumps(listed["functions"]))
    assert function["name"] == "echo"
    assert function["serving_generation"] == 3
    assert function["states"] == {"failed": 1}
    assert function["reasons"] == ["no such input"]
    assert function["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]


async def test_a_model_is_stored_by_its_digest_and_nothing_is_left_behind(tmp_path: Path) -> None:
    functions = FakeFunctions()
    model = bytes(range(256)) * 20_000
    settings = HttpSettings(upload_directory=str(tmp_path))
    async with serving(FakeInvoker(), functions, settings) as port, knock(port) as door:
        answer = await door.request("PUT", "/v1/models", model)
        assert answer.status == 201
        assert answer.document == {"digest": hashlib.sha256(model).hexdigest(), "size_bytes": len(model)}
    assert list(functions.stored.values()) == [model]
    assert list(tmp_path.iterdir()) == []


async def test_a_model_that_is_too_large_is_refused_announced_or_not(tmp_path: Path) -> None:
    settings = HttpSettings(upload_directory=str(tmp_path), max_model_bytes=1000)
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as door:
        announced = await door.request("PUT", "/v1/models", b"\0" * 1001)
        assert announced.status == 413
        assert "of 1000 bytes" in announced.error
        await door.send(b"PUT /v1/models HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        await door.send(b"400\r\n" + b"\0" * 1024 + b"\r\n0\r\n\r\n")
        assert (await door.answer()).status == 413
    assert list(tmp_path.iterdir()) == []


async def test_a_model_for_which_there_is_no_room_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads, "_write_all", full)
    settings = HttpSettings(upload_directory=str(tmp_path))
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as door:
        refused = await door.request("PUT", "/v1/models", b"model")
    assert refused.status == 507
    assert "FASTGSHARE_UPLOAD_DIR" in refused.error
    assert list(tmp_path.iterdir()) == []


BEGUN = b"PUT /v1/models HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n12345"


async def test_uploads_are_bounded_in_number(tmp_path: Path) -> None:
    settings = HttpSettings(upload_directory=str(tmp_path), max_uploads=1)
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as slow, knock(port) as other:
        await slow.send(BEGUN)
        await until(lambda: open_uploads(tmp_path) == 1)
        refused = await other.request("PUT", "/v1/models", b"model")
        assert refused.status == 503
        assert refused.headers["retry-after"] == "2"
        assert "the limit is 1" in refused.error
        await slow.send(b"67890")
        assert (await slow.answer()).status == 201
        assert (await other.request("PUT", "/v1/models", b"model")).status == 201
    assert list(tmp_path.iterdir()) == []


async def test_an_upload_that_stops_coming_is_not_waited_for_forever(tmp_path: Path) -> None:
    settings = HttpSettings(upload_directory=str(tmp_path), body_timeout_s=0.05)
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as slow:
        await slow.send(BEGUN)
        assert (await slow.answer()).status == 408
    assert list(tmp_path.iterdir()) == []


async def test_an_upload_that_breaks_off_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = HttpSettings(upload_directory=str(tmp_path))
    async with serving(FakeInvoker(), settings=settings) as port:
        async with knock(port) as door:
            await door.send(BEGUN)
            await until(lambda: open_uploads(tmp_path) == 1)
        await until(lambda: open_uploads(tmp_path) == 0)
    assert not caplog.records


async def test_an_upload_has_no_file_that_a_gateway_that_is_killed_could_leave(tmp_path: Path) -> None:
    settings = HttpSettings(upload_directory=str(tmp_path))
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as slow:
        await slow.send(BEGUN)
        await until(lambda: open_uploads(tmp_path) == 1)
        assert list(tmp_path.iterdir()) == []


async def test_an_upload_for_which_there_is_no_file_takes_no_place(tmp_path: Path) -> None:
    settings = HttpSettings(upload_directory=str(tmp_path / "missing"), max_uploads=1)
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as door:
        assert (await door.request("PUT", "/v1/models", b"model")).status == 500
        (tmp_path / "missing").mkdir()
    async with serving(FakeInvoker(), settings=settings) as port, knock(port) as door:
        assert (await door.request("PUT", "/v1/models", b"model")).status == 201


def test_what_was_left_by_name_is_removed_once_it_is_old_and_nothing_else(tmp_path: Path) -> None:
    now_s = 1_000_000.0
    aged = {"fastgshare-upload-old": 3601, "fastgshare-upload-new": 3599, "other": 9999}
    for name, age_s in aged.items():
        (tmp_path / name).write_bytes(b"part of a model")
        os.utime(tmp_path / name, (now_s - age_s, now_s - age_s))
    (tmp_path / "fastgshare-upload-folder").mkdir()
    (tmp_path / "fastgshare-upload-link").symlink_to(tmp_path / "other")
    assert uploads.sweep_uploads(tmp_path, now_s) == ["fastgshare-upload-old"]
    assert len(list(tmp_path.iterdir())) == 4
    assert uploads.sweep_uploads(tmp_path / "missing", now_s) == []


def open_uploads(directory: Path) -> int:
    """How many files of uploads this process has open there; they have no names any more."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found += os.readlink(descriptor).startswith(f"{directory}/fastgshare-upload-")
    return found


async def test_a_change_to_what_was_read_undoes_nobody_elses() -> None:
    invoker, functions = FakeInvoker(), FakeFunctions()
    async with serving(invoker, functions) as port, knock(port) as door:
        created = await write(door, "PUT", "/v1/functions/echo", DEFINITION)
        read = created.headers["etag"]
        scaled = await write(door, "POST", "/v1/functions/echo/scale", {"replicas": 3})
        assert scaled.document["generation"] == created.document["generation"]
        assert scaled.headers["etag"] != read
        path, change = "/v1/functions/echo", json.dumps({**DEFINITION, "max_batch": 4}).encode()
        for tag, status in ((read, 409), ('"other"', 409), (scaled.headers["etag"], 200), ("*", 200)):
            answer = await door.request("PUT", path, change, Content_Type="application/json", If_Match=tag)
            assert answer.status == status, tag
        absent = await door.request(
            "PUT", "/v1/functions/new", change.replace(b"echo", b"new"), Content_Type="application/json", If_Match="*"
        )
        assert absent.status == 409
