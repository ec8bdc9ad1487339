"""The overhead benchmark's own arithmetic and tools: a wrong yardstick would show nothing wrong."""

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest

from benchmarks.overhead.figures import (
    TARGETS,
    Case,
    Round,
    Sample,
    absolutes,
    cpu_us_per_request,
    misses,
    ratios,
    table,
)
from benchmarks.overhead.http_client import connect, post
from benchmarks.overhead.identity import INPUT, OUTPUT, row, write_model
from benchmarks.overhead.load import closed_loop
from benchmarks.overhead.partners import SUBJECT, fastapi_partner, raw_partner
from fastgshare.cli.up.ports import HOST
from tests.natsd import Natsd

NATS = Case("nats", "raw", 8)
HTTP = Case("http", "fastapi", 8)


def sample(rps: int, p50_us: float) -> Sample:
    return Sample([p50_us] * rps, elapsed_us=1_000_000)


def test_ratios_are_medians_of_rounds_not_ratios_of_medians() -> None:
    rounds = [
        Round(baseline=sample(100, 10), platform=sample(50, 20)),
        Round(baseline=sample(1000, 1), platform=sample(600, 3)),
        Round(baseline=sample(10, 100), platform=sample(7, 900)),
    ]
    assert ratios(NATS, rounds) == {"nats_p50_ratio_c8": 3.0, "nats_rps_ratio_c8": 0.6}
    assert ratios(HTTP, rounds).keys() == {"http_p50_ratio_c8", "http_rps_vs_fastapi_c8"}


def test_absolute_figures_stand_beside_the_ratios() -> None:
    rounds = [Round(baseline=sample(100, 10), platform=sample(50, 20))]
    measured = {case.name: absolutes(case, rounds) for case in (NATS, HTTP)}
    assert measured["nats_c8"] == {
        "raw": {"rps": 100.0, "p50_us": 10.0, "p99_us": 10.0},
        "platform": {"rps": 50.0, "p50_us": 20.0, "p99_us": 20.0},
    }
    lines = table(measured, {**ratios(NATS, rounds), **ratios(HTTP, rounds)}).splitlines()
    assert [line.split()[0] for line in lines] == ["case", "nats_c8", "http_c8"]
    assert lines[1].split()[-2:] == ["0.50", "2.00"]


def test_processor_time_is_shared_out_over_all_requests() -> None:
    rounds = [
        Round(sample(1, 1), sample(10, 1), {"gateway": 600.0}),
        Round(sample(1, 1), sample(20, 1), {"gateway": 300.0}),
    ]
    assert cpu_us_per_request(rounds) == {"gateway": 30.0}
    assert cpu_us_per_request([Round(sample(1, 1), sample(0, 1), {"gateway": 7.0})]) == {"gateway": 7.0}


def test_percentiles_are_values_that_occurred() -> None:
    values = Sample([float(value) for value in range(100, 0, -1)], elapsed_us=1)
    assert (values.percentile_us(50), values.percentile_us(99)) == (50.0, 99.0)
    assert Sample([], elapsed_us=1).percentile_us(50) == float("inf")


def test_each_missed_target_is_said_and_nothing_answered_misses() -> None:
    good = {target.key: target.at_least or target.at_most or 0.0 for target in TARGETS}
    assert misses(good, {"gateway": 120.0}) == []
    bad = {**good, "nats_p50_ratio_c1": float("inf"), "tensor_rps_ratio_c8": float("nan")}
    assert misses(bad, {"gateway": 120.5}) == [
        "nats_p50_ratio_c1 is inf, wanted at most 2.5",
        "tensor_rps_ratio_c8 is nan, wanted at least 1",
        "idle_rss_mib of gateway is 120.50, wanted at most 120",
    ]


async def test_a_closed_loop_keeps_one_request_a_client_in_flight_and_counts_wrong_answers() -> None:
    in_flight = highest = 0

    async def right() -> str | None:
        nonlocal in_flight, highest
        in_flight += 1
        highest = max(highest, in_flight)
        await asyncio.sleep(0)
        in_flight -= 1
        return None

    async def wrong() -> str | None:
        return "wrong"

    found = await closed_loop([right, right, right, wrong], seconds=0.01)
    assert highest == 3
    assert found.latencies_us
    assert set(found.failures) == {"wrong"}
    assert found.elapsed_us >= 10_000


async def test_the_http_client_reads_answers_however_they_are_cut() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for cut in range(1, len(answer)):
            await reader.readexactly(len(post("/", b"body", HOST)))
            for part in (answer[:cut], answer[cut:]):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        connection = await connect(HOST, server.sockets[0].getsockname()[1])
        for _ in range(1, len(answer)):
            assert await connection.send(post("/", b"body", HOST)) == (200, b"hello")
        with pytest.raises(ConnectionError):
            await connection.send(post("/", b"body", HOST))


async def test_the_raw_partner_echoes_from_another_process(nats: Natsd, tmp_path: Path) -> None:
    async with raw_partner(nats.url, tmp_path / "log") as connection:
        assert (await connection.request(SUBJECT, b"payload", timeout=5)).data == b"payload"


async def test_the_fastapi_partner_answers_as_the_protocol_does(tmp_path: Path) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.0]}
    async with fastapi_partner(tmp_path / "log") as port:
        connection = await connect(HOST, port)
        request = post("/v2/models/identity/infer", msgspec.json.encode({"inputs": [tensor]}), HOST)
        status, body = await connection.send(request)
        connection.close()
    assert (status, msgspec.json.decode(body)) == (200, {"model_name": "identity", "outputs": [tensor]})


def test_the_model_gives_back_what_it_got(tmp_path: Path) -> None:
    session = onnxruntime.InferenceSession(str(write_model(tmp_path / "identity.onnx", 16)))
    (output,) = session.run([OUTPUT], {INPUT: row(16)})
    assert np.array_equal(output, row(16))
    assert row(16).shape == (1, 16)
