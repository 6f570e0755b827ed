"""What a `Stage2` answers, beyond what the golden cases and the model establish."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from pyworkbench import Leaf, Stage2

MIB = 1 << 20
GIB = 1 << 30


def test_a_look_up_decodes_the_leaf_that_covers_the_address() -> None:
    table = Stage2()
    table.map(2 * MIB, 2 * MIB, 6 * MIB, prot="rx2", memtype="normal")
    assert table.lookup(3 * MIB + 123) == Leaf(
        ipa=2 * MIB,
        size_bytes=2 * MIB,
        level=2,
        kind="block",
        pa=6 * MIB,
        r=True,
        w=False,
        px=True,
        ux=True,
        af=True,
        software=0b0100,
        memtype="normal",
        desc=6 * MIB | 1 << 57 | 1 << 10 | 3 << 8 | 1 << 6 | 6 << 2 | 1,
    )
    assert table.lookup(0) is None


def test_the_frame_of_leaves_says_what_look_ups_say() -> None:
    table = Stage2("16K", ipa_bits=48)
    table.map(32 * MIB, 64 * MIB, 0, prot="r", memtype="device")
    table.map(0x4000, 0x8000, 32 * MIB, prot="rwu")
    table.annotate(0x10000, 0x4000, 2, 0x50)
    frame = table.leaves()
    rows = [Leaf(*row) for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False)]
    assert rows == [table.lookup(row.ipa) for row in rows]
    assert [row.kind for row in rows] == ["page", "page", "annotation", "block", "block"]
    assert rows[2].pa is None
    assert rows[2].desc == 2 << 60 | 0x50


def test_the_log_keeps_invalidations_in_order_with_the_operation_that_caused_them() -> None:
    table = Stage2(tlb_range=False, walker="upstream")
    table.map(0, 2 * MIB, 0)
    table.map(0x3000, 0x1000, 0x3000)
    table.map(0x5000, 0x1000, 0x5000)
    table.unmap(0, 2 * MIB)
    log = table.invalidations()
    assert log[["call", "operation", "event", "address"]].values.tolist() == [
        [1, "map", "tlbi_ipa", 0x3000],  # the block, where the walk stood
        [3, "unmap", "tlbi_ipa", 0x3000],
        [3, "unmap", "tlbi_ipa", 0x5000],
        [3, "unmap", "tlbi_ipa", 0],  # the two tables that became empty
        [3, "unmap", "tlbi_ipa", 0],
    ]
    assert log["level"].isna().tolist() == [False, False, False, True, True]
    assert table.stats()["tlbi_ipa"] == len(log)


def test_without_strictness_upstream_rounds_and_returns_codes() -> None:
    table = Stage2(strict=False)
    assert table.map(0x1234, 0x1000, 0x8FFF) == 0
    assert [(leaf.ipa, leaf.pa) for leaf in table.leaves().itertuples()] == [(0x1000, 0x8000)]
    assert table.map(0x1000, 0x1000, 0x8000) == -11
    assert table.map(1 << 40, 0x1000, 0) == -34
    assert table.map(0, 0x1000, 0, prot="x", memtype="device") == -22
    assert table.relax_perms(0x5000, "w") == -11
    assert table.lookup(1 << 40) is None
    table.map(0x4000_0000, GIB, 0x4000_0000)
    assert table.split(0x4000_0000, GIB, cache_pages=0) == -12


def test_a_range_in_pieces_gives_what_one_walk_gives() -> None:
    whole = Stage2()
    rounded = Stage2(strict=False)
    start, size = 7 * GIB + 5 * 4096, 20 * GIB  # cut at 8 and at 16 GiB
    assert whole.map(start, size, start) == 0
    assert rounded.map(start + 1, size, start + 2) == 0
    assert whole.stats()["mapped_bytes"] == rounded.stats()["mapped_bytes"] == size
    assert whole.leaves().equals(rounded.leaves())
    assert whole.leaves()["size_bytes"].max() == GIB
    assert whole.test_clear_young(start, size) is True
    assert whole.wrprotect(start, size) == 0
    assert not whole.leaves()["w"].any()
    assert whole.unmap(start, size) == 0
    assert whole.stats()["mapped_bytes"] == 0
    ranges = whole.invalidations().query("event == 'tlbi_range'")
    assert ranges["pages"].sum() == size // 4096
    assert len(ranges) == 3


def test_threads_map_shared_into_one_table_as_vcpus_do() -> None:
    table = Stage2(force_pte=True, strict=False)

    def fault(first: int) -> None:
        for page in range(first, 4096, 4):
            # Who loses the race for a table page faults again.
            while table.map(page * 4096, 4096, page * 4096, shared=True) == -11:
                pass

    threads = [threading.Thread(target=fault, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = table.stats()
    assert (stats["pages"], stats["tables"]) == (4096, 2 + 1 + 8)
    assert (stats["double_frees"], stats["count_underflows"]) == (0, 0)


@pytest.fixture
def ctrl_c_raises() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_stops_a_long_map_between_two_pieces() -> None:
    table = Stage2(force_pte=True)
    size = 128 * GIB

    def interrupt_when_it_has_begun() -> None:
        while table._core.live_pages <= table.root_pages:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt_when_it_has_begun)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        table.map(0, size, 0)
    thread.join()
    mapped = table.stats()["mapped_bytes"]
    assert 0 < mapped < size
    assert mapped % (8 * GIB) == 0
