"""From measured rounds to the figures that are published: pure, so that the arithmetic can be tested.

Machines are noisy and change speed over minutes, so two systems are compared within a round, moments apart, and the
figure is the median of the rounds' ratios, not the ratio of two averages.
"""

from math import inf
from statistics import median

import msgspec

from benchmarks.ranks import nearest_rank

US_PER_S = 1_000_000


class Sample(msgspec.Struct, frozen=True):
    """One closed-loop run: the latency of each request in microseconds, and how long all took."""

    latencies_us: list[float]
    elapsed_us: float
    failures: list[str] = []

    @property
    def rps(self) -> float:
        """Right answers a second."""
        return len(self.latencies_us) * US_PER_S / self.elapsed_us

    def percentile_us(self, percent: float) -> float:
        """A latency percentile by the nearest-rank method; infinite when nothing was answered."""
        return nearest_rank(self.latencies_us, percent, of_nothing=inf)


class Case(msgspec.Struct, frozen=True):
    """Two systems doing the same: `platform` against `baseline`, at a number of clients."""

    kind: str
    baseline: str
    clients: int

    @property
    def name(self) -> str:
        """How keys call it, such as `nats_c8`."""
        return f"{self.kind}_c{self.clients}"


class Round(msgspec.Struct, frozen=True):
    """One measurement of a case: both systems, one right after the other.

    `cpu_us` is what each process spent while the platform's sample was taken.
    """

    baseline: Sample
    platform: Sample
    cpu_us: dict[str, float] = {}

    @property
    def rps_ratio(self) -> float:
        """Platform over baseline: higher is better."""
        return self.platform.rps / self.baseline.rps

    @property
    def p50_ratio(self) -> float:
        """Platform over baseline: lower is better."""
        return self.platform.percentile_us(50) / self.baseline.percentile_us(50)


class Target(msgspec.Struct, frozen=True):
    """A bound on a figure; exactly one of `at_least` and `at_most` is set."""

    key: str
    at_least: float | None = None
    at_most: float | None = None

    def miss(self, value: float) -> str | None:
        """How `value` misses, in words; None when it meets the bound."""
        if self.at_least is not None and not value >= self.at_least:
            return f"{self.key} is {value:.2f}, wanted at least {self.at_least:g}"
        if self.at_most is not None and not value <= self.at_most:
            return f"{self.key} is {value:.2f}, wanted at most {self.at_most:g}"
        return None


TARGETS = (
    Target("nats_p50_ratio_c1", at_most=2.5),
    Target("nats_rps_ratio_c64", at_least=0.35),
    Target("http_rps_vs_fastapi_c8", at_least=0.7),
    Target("tensor_rps_ratio_c8", at_least=1.0),
)
IDLE_RSS_AT_MOST_MIB = 120.0


def ratios(case: Case, rounds: list[Round]) -> dict[str, float]:
    """The published ratios of a case."""
    rps_key = f"{case.kind}_rps_vs_fastapi" if case.baseline == "fastapi" else f"{case.kind}_rps_ratio"
    return {
        f"{case.kind}_p50_ratio_c{case.clients}": median(measured.p50_ratio for measured in rounds),
        f"{rps_key}_c{case.clients}": median(measured.rps_ratio for measured in rounds),
    }


def absolutes(case: Case, rounds: list[Round]) -> dict[str, dict[str, float]]:
    """Medians over the rounds, by system: requests a second, and latencies in microseconds."""
    systems = {
        case.baseline: [measured.baseline for measured in rounds],
        "platform": [measured.platform for measured in rounds],
    }
    return {
        system: {
            "rps": round(median(sample.rps for sample in samples), 1),
            "p50_us": round(median(sample.percentile_us(50) for sample in samples), 1),
            "p99_us": round(median(sample.percentile_us(99) for sample in samples), 1),
        }
        for system, samples in systems.items()
    }


def cpu_us_per_request(rounds: list[Round]) -> dict[str, float]:
    """Processor time for one request through the platform, by process: where the time goes when cores are scarce."""
    requests = max(1, sum(len(measured.platform.latencies_us) for measured in rounds))
    names = rounds[0].cpu_us if rounds else {}
    return {name: round(sum(measured.cpu_us[name] for measured in rounds) / requests, 1) for name in names}


def misses(figures: dict[str, float], idle_rss_mib: dict[str, float]) -> list[str]:
    """Every target that is missed, in words."""
    found = [target.miss(figures[target.key]) for target in TARGETS]
    for service, rss_mib in idle_rss_mib.items():
        found.append(Target(f"idle_rss_mib of {service}", at_most=IDLE_RSS_AT_MOST_MIB).miss(rss_mib))
    return [miss for miss in found if miss is not None]


def table(measured: dict[str, dict[str, dict[str, float]]], figures: dict[str, float]) -> str:
    """One line a case: both systems' rates and medians, and the ratios."""
    heading = f"{'rps':>8} {'p50 us':>8} {'p99 us':>8}"
    lines = [f"{'case':<12} {'baseline':<8} {heading} {'| platform':<10} {heading} {'rps x':>6} {'p50 x':>6}"]
    for name, systems in measured.items():
        kind, _, clients = name.partition("_c")
        baseline, base = next((system, cell) for system, cell in systems.items() if system != "platform")
        ours = systems["platform"]
        rps_key = f"{kind}_rps_vs_fastapi" if baseline == "fastapi" else f"{kind}_rps_ratio"
        lines.append(
            f"{name:<12} {baseline:<8} {_cell(base)} {'|':<10} {_cell(ours)}"
            f" {figures[f'{rps_key}_c{clients}']:>6.2f} {figures[f'{kind}_p50_ratio_c{clients}']:>6.2f}"
        )
    return "\n".join(lines)


def _cell(cell: dict[str, float]) -> str:
    return f"{cell['rps']:>8.0f} {cell['p50_us']:>8.0f} {cell['p99_us']:>8.0f}"
