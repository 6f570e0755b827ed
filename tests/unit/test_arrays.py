"""Array calls of `Stage2`: what they take, what they refuse, and that nothing is half done."""

import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest

from pyworkbench import InputError, Stage2, TableError
from pyworkbench.table import Walker

PAGES = np.arange(1000, dtype=np.uint64) * 4096


@pytest.mark.parametrize("walker", ["fast", "upstream"])
def test_array_calls_do_what_single_calls_do(walker: Walker) -> None:
    many, single = Stage2(walker=walker), Stage2(walker=walker)
    ipas = np.random.default_rng(3).permutation(PAGES)
    pas = ipas[::-1] + 0x4000_0000
    assert many.map_many(ipas, pas, prot="rx", shared=True) == 0
    for ipa, pa in zip(ipas.tolist(), pas.tolist(), strict=True):
        assert single.map(ipa, 4096, pa, prot="rx", shared=True) == 0
    assert many.unmap_many(ipas[:300]) == 0
    for ipa in ipas[:300].tolist():
        assert single.unmap(ipa, 4096) == 0
    assert many.leaves().equals(single.leaves())
    found = many.lookup_many(ipas + 0x123)
    for row, ipa in zip(found.itertuples(index=False), ipas.tolist(), strict=True):
        leaf = single.lookup(ipa)
        assert row.pa is pd.NA if leaf is None else row.pa == (leaf.pa or 0) + 0x123
        assert row.desc == (0 if leaf is None else leaf.desc)


@pytest.mark.parametrize(
    "ipas",
    [[0x1000, 0x3000], (0x1000, 0x3000), np.array([0x1000, 0x3000]), pd.Series([0x1000, 0x3000], dtype="UInt64")],
    ids=["list", "tuple", "int64", "arrow"],
)
def test_whatever_holds_integers_is_taken(ipas: object) -> None:
    table = Stage2()
    assert table.map_many(ipas, [0, 0x1000]) == 0  # type: ignore[arg-type]
    assert table.leaves()["ipa"].tolist() == [0x1000, 0x3000]


def test_a_part_of_a_wider_array_is_taken() -> None:
    table = Stage2()
    table.map_many(PAGES[::2], PAGES[::2])
    assert table.stats()["pages"] == 500
    assert table.map_many([], []) == 0
    assert len(table.lookup_many([])) == 0


@pytest.mark.parametrize(
    ("ipas", "pas", "message"),
    [
        ([0x1000, -1], [0, 0], r"ipas\[1\] is -1: 0 to 2\*\*64 - 1 would be an address"),
        ([0x1000, 1 << 64], [0, 0], r"ipas\[1\] is 18446744073709551616: 0 to"),
        ([7, 0.5], [0, 0], r"ipas\[1\] is 0.5: an integer of 64 bits would be right"),
        (np.array([0.5]), [0], "ipas holds float64 such as .*0.5.*: integers of 64 bits would be right"),
        (["a"], [0], "ipas holds .* such as .*a.*: integers of 64 bits would be right"),
        ([[0x1000]], [0], "ipas has 2 dimensions: one would be right"),
        ([0x1000, 0x2000], [0], "2 ipas and 1 pas: as many of each would be right"),
        ([0x1000, 0x2345], [0, 0], "element 1: ipa 0x2345 is not a multiple of the page size 0x1000"),
        ([0x1000, 1 << 40], [0, 0], "element 1: ipa 0x10000000000 is outside the 40-bit IPA space"),
        ([0x1000, 0x2000], [0, 0x17], "element 1: pa 0x17 is not a multiple of the page size"),
        ([0x1000, 0x2000], [0, 1 << 48], "element 1: pa 0x1000000000000 .* ends past the output addresses"),
    ],
)
def test_wrong_arrays_are_refused_before_anything_is_mapped(ipas: list[int], pas: list[int], message: str) -> None:
    table = Stage2()
    with pytest.raises(InputError, match=message):
        table.map_many(ipas, pas)
    assert table.stats()["pages"] == 0


def test_an_element_that_the_table_refuses_ends_the_call_and_is_named() -> None:
    table = Stage2()
    table.map(0x3000, 0x1000, 0)
    with pytest.raises(TableError, match=r"map_many: ipas\[2\], 0x3000: it is mapped already"):
        table.map_many([0x1000, 0x2000, 0x3000, 0x4000], [0, 0, 0, 0])
    assert table.leaves()["ipa"].tolist() == [0x1000, 0x2000, 0x3000]
    assert Stage2(strict=False).map_many([1 << 40], [0]) == -34


def test_what_lies_outside_a_table_that_is_not_strict_is_not_mapped() -> None:
    table = Stage2(strict=False)
    table.map(0x1000, 0x1000, 0x5000)
    assert table.lookup_many([1 << 40, 0x1008, 1 << 63])["pa"].tolist() == [pd.NA, 0x5008, pd.NA]
    with pytest.raises(InputError, match="element 0: ipa 0x10000000000 is outside"):
        Stage2().lookup_many([1 << 40])


def test_scattered_unmaps_are_invalidated_at_once() -> None:
    table = Stage2()
    table.map(0, 0x400_000, 0x1000)
    table.unmap_many(PAGES[::3])
    assert table.invalidations()["event"].tolist() == ["tlbi_vmid"]
    assert Stage2(walker="upstream").walker == "upstream"


def test_ctrl_c_stops_between_two_parts() -> None:
    table = Stage2()
    pages = np.arange(1 << 22, dtype=np.uint64) * 4096
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt_when_it_has_begun() -> None:
        while table._core.live_pages <= table.root_pages:
            time.sleep(0)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt_when_it_has_begun)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            table.map_many(pages, pages)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    mapped = table.stats()["pages"]
    assert 0 < mapped < len(pages)
    assert mapped % (1 << 16) == 0
