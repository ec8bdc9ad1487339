"""Taking out what luck with the arrivals did, and leaving what the model did."""

import math
import random
from statistics import median

import pytest

from fastgshare.profiler.core.arrivals import Luck, Server, latencies_us, percentiles_us
from fastgshare.shared.units import US_PER_S

LUCK = Luck(lambda seed: random.Random(seed).expovariate)
SERVER = Server(batch=4, device_us=20_000, quota=0.5)
LOAD_RPS = 0.8 * 0.5 * 4 * US_PER_S / 20_000


def measured(server: Server, load_rps: float, seed: int, requests: int) -> tuple[float, float, float]:
    """A device unlike the model: slower at small batches, and each batch off by some percent."""
    chance = random.Random(seed + 1_000)
    real = Server(server.batch, round(server.device_us * chance.lognormvariate(0, 0.02)), server.quota)
    return percentiles_us(
        [1.1 * latency_us for latency_us in latencies_us(real, LUCK.gaps_us(load_rps, seed, requests))]
    )


def test_one_at_a_time_waits_as_the_queueing_formula_says() -> None:
    """M/D/1 at 80 %: the mean wait is two service times (Pollaczek and Khinchine)."""
    server = Server(batch=1, device_us=1_000, quota=1.0)
    found = latencies_us(server, LUCK.gaps_us(800, seed=3, requests=200_000))

    assert sum(found) / len(found) == pytest.approx(3_000, rel=0.05)


def test_a_quota_is_kept_over_time() -> None:
    """Everything arrives at once: what is answered takes its time over its quota."""
    found = latencies_us(SERVER, [0.0] * 400)

    assert found[-1] == pytest.approx(100 * 20_000 / 0.5, rel=0.02)


def test_two_measurements_of_one_point_agree_once_their_arrivals_are_accounted_for() -> None:
    apart: list[float] = []
    corrected: list[float] = []
    for seed in range(0, 40, 2):
        found = [measured(SERVER, LOAD_RPS, each, 300)[1] for each in (seed, seed + 1)]
        right = [LUCK.corrections(SERVER, LOAD_RPS, each, 300)[1] for each in (seed, seed + 1)]
        apart.append(abs(math.log(found[0] / found[1])))
        corrected.append(abs(math.log(found[0] * right[0] / (found[1] * right[1]))))

    assert median(corrected) < median(apart) / 2


def test_what_makes_a_device_slower_than_the_model_stays() -> None:
    long_run = percentiles_us(latencies_us(SERVER, LUCK.gaps_us(LOAD_RPS, 99, 50_000)))
    found = measured(SERVER, LOAD_RPS, 7, 1_000)[1] * LUCK.corrections(SERVER, LOAD_RPS, 7, 1_000)[1]

    assert found == pytest.approx(1.1 * long_run[1], rel=0.15)


def test_nothing_measured_is_corrected_by_nothing() -> None:
    assert LUCK.corrections(SERVER, LOAD_RPS, 1, 0) == (1.0, 1.0, 1.0)
    assert LUCK.corrections(SERVER, 0.0, 1, 100) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("quota", [1.0, 0.2])
def test_a_slice_that_did_more_than_the_model_can_is_taken_at_its_word(quota: float) -> None:
    """The model's queue would grow for ever, and no percentile of it means anything."""
    server = Server(batch=1, device_us=10_000, quota=quota)

    assert LUCK.corrections(server, 0.96 * quota * 100, seed=5, requests=200) == (1.0, 1.0, 1.0)
    assert LUCK.corrections(server, 0.80 * quota * 100, seed=5, requests=200) != (1.0, 1.0, 1.0)
