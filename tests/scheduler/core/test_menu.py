"""The slices on the menu: their widths, what they take, which is efficient, and when none will do."""

import pytest

from fastgshare.scheduler.core.menu import POOLS, Menu, menu_of, percent_of, slice_of
from fastgshare.scheduler.core.packing import width
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.tables import Table
from tests.scheduler.core.tables import CHUNKS, curve, table
from tests.scheduler.core.world import spec


def menu(model: str = "resnet50", slo_ms: float = 69, chunks: int = CHUNKS) -> Menu:
    read = Table.of(table(curve(model), "m"))
    assert read is not None
    return menu_of(read, spec(slo_ms=slo_ms), chunks, Settings())


@pytest.mark.parametrize("chunks", [1, 2, 4, 7, 16, 20, 66, 80, 132])
def test_a_width_in_percent_comes_back_as_so_many_chunks(chunks: int) -> None:
    found = menu(chunks=chunks)
    widths = [round(option.share * chunks) for option in found.options]
    assert all(width(option.sm_partition, chunks) == round(option.share * chunks) for option in found.options)
    assert max(widths) == chunks
    assert set(widths) == set(range(1, chunks + 1)) or chunks > 100
    assert percent_of(chunks, chunks) == 100


@pytest.mark.parametrize(("model", "slo_ms"), [("resnet50", 69), ("bert", 200), ("gnmt", 300), ("rnnt", 500)])
def test_the_frontier_rises_and_leaves_nothing_cheaper_out(model: str, slo_ms: float) -> None:
    found = menu(model, slo_ms)
    for number, tier in enumerate(found.tiers):
        assert tier.pool == POOLS[number]
        assert list(tier.rates) == sorted(set(tier.rates))
        for option in found.options:
            if option.rps > 0:
                covering = tier.covering(option.rates[number])
                assert covering is not None
                assert found.weight(covering) <= found.weight(option) + 1e-9
        assert tier.covering(tier.rates[-1] * 1.01) is None


def test_more_quota_or_more_chunks_never_take_less() -> None:
    found = menu("bert", 200)
    by_place = {(option.sm_partition, option.quota): option for option in found.options}
    for option in found.options:
        wider = by_place.get((option.sm_partition + 6, option.quota))
        longer = by_place.get((option.sm_partition, round(option.quota + 0.1, 1)))
        assert wider is None or wider.rps >= option.rps - 1e-9
        assert longer is None or longer.rps >= option.rps - 1e-9


def test_a_tight_objective_wants_more_of_a_device_for_the_same_load() -> None:
    costs = []
    for slo_ms in (69, 100, 200, 1000):
        covering = menu(slo_ms=slo_ms).tiers[0].covering(15)
        assert covering is not None
        costs.append(covering.cost)
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 2 * costs[-1]


def test_an_objective_below_the_device_time_leaves_nothing_and_says_how_close_it_is() -> None:
    found = menu(slo_ms=10)
    assert found.tiers == ()
    assert 13_000 < found.closest.least_us < 14_000
    assert found.closest.cost <= 1


def test_other_shapes_take_as_much_at_nearly_the_same_cost() -> None:
    found = menu("bert", 300)
    pairs = [(option, other) for option in found.tiers[0].frontier for other in found.others(option)]
    assert len(pairs) > 10
    for option, other in pairs:
        assert other.rps >= option.rps
        assert other.cost <= 1.1 * option.cost
        assert other.sm_partition != option.sm_partition


def test_a_slice_may_use_spare_time_and_has_the_memory_of_the_definition() -> None:
    found = menu()
    wanted = spec(memory_mib=1500)
    held = slice_of(found.tiers[0].best, wanted)
    assert (held.quota_limit, held.gpu_mem_mib) == (1.0, 1500)
