"""One stage-2 table, and scripts of operations on one.

`Stage2` is a real multi-level table with the geometry, descriptors, reference counts, break-before-make and
maintenance of Linux 7.3 on arm64, verified bit for bit against tables of real kernels, whichever of its two walkers it
has. It is safe to use
from several threads: it has an `mmu_lock` of its own, held for read by shared maps, `mkyoung` and
`relax_perms`, and for write by all else. What it does not do: translate a guest's accesses, or cost what
the kernel costs; times of calls from Python are times of Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from pyworkbench import _core
from pyworkbench._arrays import addresses
from pyworkbench._frames import to_pandas

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

Granule = Literal["4K", "16K", "64K"]
Walker = Literal["fast", "upstream"]
MemType = Literal["normal", "nc", "device"]


class Leaf(NamedTuple):
    """A leaf or an annotation of a table, decoded (Arm ARM, D8.3). `Stage2.leaves` has the same columns."""

    ipa: int
    """The first guest physical address it maps."""
    size_bytes: int
    """How much it maps."""
    level: int
    """The level of its descriptor; 3 is the last."""
    kind: str
    """`page`, `block` or `annotation` (invalid, not zero)."""
    pa: int | None
    """The output address; `None` for an annotation."""
    r: bool
    """Readable (S2AP bit 0)."""
    w: bool
    """Writable (S2AP bit 1)."""
    px: bool
    """Executable at EL1."""
    ux: bool
    """Executable at EL0."""
    af: bool
    """The access flag."""
    software: int
    """The four software bits, 58:55 of the descriptor."""
    memtype: str | None
    """`normal`, `nc` or `device`; `None` for an annotation or an encoding without a name."""
    desc: int
    """The raw 64-bit descriptor."""


class Stage2:
    """A stage-2 translation table, as KVM/arm64 keeps one for a VM.

    All addresses and sizes are in bytes. Operations that have a return code in Linux answer it: 0, or with
    `strict=False` also a negative errno. A strict table raises instead: `InputError` for input that Linux
    would round or refuse, `TableError` for what the table itself refuses.

    A range of more than 2 ** 21 pages is worked on in pieces of that many, so that Ctrl-C can stop between
    two of them; what is done by then stays. `destroy` runs to its end in any case: Ctrl-C ends only the
    waiting for it.

    Args:
        granule: the page size, `4K`, `16K` or `64K`.
        ipa_bits: the size of the guest's physical address space in bits: 32 to 48, or to 52 with 64K pages
            or `lpa2`.
        start_level: the level of the root; KVM's choice if `None`. A lower one gives more levels.
        level_bits: address bits that a level resolves; the granule's own 9, 11 or 13 if `None`. Smaller
            tables are for exploration; no hardware walks them.
        fwb: FEAT_S2FWB: the memory type overrides stage 1's, and no cache needs maintenance.
        xnx: FEAT_XNX: execute permission apart for EL1 and EL0.
        tlb_range: FEAT_TLBIRANGE: invalidations by range; `unmap` then defers its own to the end.
        lpa2: FEAT_LPA2 in use: 52-bit addresses with 4K and 16K pages.
        as_s1: memory attributes as in a stage-1 table.
        force_pte: pages only, no blocks.
        cmo: record cache maintenance too.
        walker: how the table is walked. `upstream` visits entry by entry, as Linux does; `fast` does what a library
            can that knows its own structure. Both leave the same table, counts and return codes behind; the
            invalidations of `fast` may be fewer and wider.
        strict: raise where Linux rounds or returns a code.

    Raises:
        InputError: the table cannot be; the message says what could.

    Example:
        >>> from pyworkbench import Stage2
        >>> table = Stage2("4K", ipa_bits=40)
        >>> table.map(0x8000_0000, 4 << 20, 0x4000_0000, prot="rw")
        0
        >>> table.lookup(0x8020_1000)  # doctest: +ELLIPSIS
        Leaf(ipa=2149580800, size_bytes=2097152, level=2, kind='block', pa=1075838976, r=True, w=True, ...)
        >>> table.stats()["blocks"]
        2
    """

    def __init__(
        self,
        granule: Granule = "4K",
        ipa_bits: int = 40,
        *,
        start_level: int | None = None,
        level_bits: int | None = None,
        fwb: bool = True,
        xnx: bool = True,
        tlb_range: bool = True,
        lpa2: bool = False,
        as_s1: bool = False,
        force_pte: bool = False,
        cmo: bool = False,
        walker: Walker = "fast",
        strict: bool = True,
    ) -> None:
        self._core = _core.Stage2(
            granule,
            ipa_bits,
            start_level=start_level,
            level_bits=level_bits,
            fwb=fwb,
            xnx=xnx,
            tlb_range=tlb_range,
            lpa2=lpa2,
            as_s1=as_s1,
            force_pte=force_pte,
            cmo=cmo,
            walker=walker,
            strict=strict,
        )

    def map(
        self,
        ipa: int,
        size: int,
        pa: int,
        prot: str = "rw",
        memtype: MemType = "normal",
        shared: bool = False,
    ) -> int:
        """Maps `[ipa, ipa + size)` to `[pa, pa + size)` with the largest leaves that fit.

        Something mapped otherwise is broken before it is made, with its invalidation; a block under part
        of the range is dropped whole. (kvm_pgtable_stage2_map)

        Args:
            ipa: guest physical address, a multiple of the page size.
            size: bytes, a multiple of the page size.
            pa: output address, a multiple of the page size.
            prot: letters: `r`, `w`, `x` (execute at EL1 and EL0), `u` (EL0 only), `p` (EL1 only), `0` to
                `3` (software bits), `-` for none.
            memtype: `normal`, `nc` (not cacheable) or `device`; only normal memory can be executed.
            shared: as a vCPU's fault maps: under `mmu_lock` held for read, each entry by cmpxchg.

        Returns:
            0; with `strict=False` also a negative errno.

        Raises:
            TableError: `EAGAIN`: a page there is mapped already, with the same or only other permissions;
                or, in a shared map, another thread was faster: a vCPU then faults again.
                What was mapped before it stays.
            InputError: the range or the attributes are wrong.
        """
        return self._core.map(ipa, size, pa, prot, memtype, shared)

    def unmap(self, ipa: int, size: int) -> int:
        """Removes leaves and annotations of a range, and the tables that became empty.

        A block touched in part goes whole. (kvm_pgtable_stage2_unmap)

        Returns:
            0; with `strict=False` also a negative errno.

        Example:
            >>> table = Stage2()
            >>> table.map(0x8000_0000, 0x20_0000, 0x4000_0000)
            0
            >>> table.unmap(0x8000_1000, 0x1000)
            0
            >>> table.stats()["pages"], table.invalidations()["event"].tolist()
            (0, ['tlbi_ipa', 'tlbi_range'])
        """
        return self._core.unmap(ipa, size)

    def wrprotect(self, ipa: int, size: int) -> int:
        """Takes write permission from every leaf of a range; what is not mapped is passed over.

        No invalidation: it is the caller's, as in Linux. (kvm_pgtable_stage2_wrprotect)

        Returns:
            0; with `strict=False` also a negative errno.
        """
        return self._core.wrprotect(ipa, size)

    def mkyoung(self, ipa: int) -> None:
        """Sets the access flag of the leaf at `ipa`; nothing if there is none. (kvm_pgtable_stage2_mkyoung)."""
        self._core.mkyoung(ipa)

    def test_clear_young(self, ipa: int, size: int, mkold: bool = True) -> bool:
        """Whether any leaf of a range has the access flag; clears the flags if `mkold`.

        No invalidation: it is the caller's, as in Linux. (kvm_pgtable_stage2_test_clear_young)

        Example:
            >>> table = Stage2()
            >>> table.map(0x1000, 0x2000, 0x8000_0000)
            0
            >>> table.test_clear_young(0, 0x10_0000), table.test_clear_young(0, 0x10_0000)
            (True, False)
        """
        return self._core.test_clear_young(ipa, size, mkold)

    def relax_perms(self, ipa: int, prot: str) -> int:
        """Adds permissions to the leaf at `ipa`, as a permission fault does, with a local invalidation.

        Read and write are added; execute letters replace the leaf's execute permission; software bits are
        refused. (kvm_pgtable_stage2_relax_perms)

        Returns:
            0; with `strict=False` also a negative errno.

        Raises:
            TableError: `EAGAIN`: nothing is mapped there.
        """
        return self._core.relax_perms(ipa, prot)

    def split(self, ipa: int, size: int, cache_pages: int | None = None) -> int:
        """Replaces blocks of a range by tables of pages, as eager splitting does for dirty logging.

        The pages keep permissions and software bits; the access flag comes out set and the memory type
        normal, as in Linux. (kvm_pgtable_stage2_split)

        Args:
            ipa: guest physical address, a multiple of the page size.
            size: bytes, a multiple of the page size.
            cache_pages: table pages in the caller's cache; plenty if `None`. A level-1 block takes 513 with
                4K pages; with fewer it becomes level-2 blocks first.

        Returns:
            0; with `strict=False` also a negative errno.

        Raises:
            TableError: `ENOMEM`: the cache ran out. What was split before stays.
        """
        return self._core.split(ipa, size, cache_pages)

    def annotate(self, ipa: int, size: int, kind: int, value: int) -> int:
        """Writes invalid, counted entries over every page of a range. (kvm_pgtable_stage2_annotate).

        Args:
            ipa: guest physical address, a multiple of the page size.
            size: bytes, a multiple of the page size.
            kind: bits 63:60 of the entry: 2 (donated) or 3 (poisoned) in Linux, any of 2 to 15 here.
            value: the other bits, bit 0 clear.

        Returns:
            0; with `strict=False` also a negative errno.
        """
        return self._core.annotate(ipa, size, kind, value)

    def flush(self, ipa: int, size: int) -> int:
        """Cleans the data cache for every cacheable leaf of a range; nothing to do with `fwb`.

        (kvm_pgtable_stage2_flush) Recorded in `invalidations` if the table was made with `cmo=True`.

        Returns:
            0; with `strict=False` also a negative errno.
        """
        return self._core.flush(ipa, size)

    def map_many(
        self,
        ipas: npt.ArrayLike,
        pas: npt.ArrayLike,
        prot: str = "rw",
        memtype: MemType = "normal",
        shared: bool = False,
    ) -> int:
        """Maps a page for each element of `ipas` to the page of `pas` at the same place, in one call.

        Args:
            ipas: n guest physical addresses, multiples of the page size: a numpy array (of `uint64` without a copy), a
                pandas column or a list.
            pas: n output addresses, multiples of the page size.
            prot: as for `map`.
            memtype: as for `map`.
            shared: as for `map`.

        Returns:
            0; with `strict=False` also a negative errno: that of the element at which the call ended.

        Raises:
            TableError: an element was refused; the message has its place. The elements before it are mapped.
            InputError: an address or the attributes are wrong; nothing is mapped.

        Example:
            >>> import numpy as np
            >>> table = Stage2()
            >>> pages = np.arange(512, dtype=np.uint64) * 4096
            >>> table.map_many(0x8000_0000 + pages, 0x4000_0000 + pages[::-1])
            0
            >>> table.stats()["pages"]
            512
        """
        return self._core.map_many(addresses("ipas", ipas), addresses("pas", pas), prot, memtype, shared)

    def unmap_many(self, ipas: npt.ArrayLike) -> int:
        """Unmaps the page of each element, in one call; pages that are not mapped are passed over.

        With `walker="fast"`, each 65536 elements have one invalidation for neighbours in the array, and one of
        everything where that would take more than 64.

        Args:
            ipas: guest physical addresses, multiples of the page size.

        Returns:
            0; with `strict=False` also a negative errno: that of the element at which the call ended.

        Example:
            >>> table = Stage2()
            >>> table.map(0, 0x4000, 0x8000_0000)
            0
            >>> table.unmap_many([0x0, 0x1000, 0x3000])
            0
            >>> table.invalidations()[["event", "address", "pages"]].values.tolist()
            [['tlbi_range', 0, 2], ['tlbi_range', 12288, 1]]
        """
        return self._core.unmap_many(addresses("ipas", ipas))

    def lookup_many(self, ipas: npt.ArrayLike) -> pd.DataFrame:
        """What each address translates to: a row for each element, in their order.

        Args:
            ipas: guest physical addresses, aligned or not.

        Returns:
            A frame with the columns `pa` (`uint64`; where that very address lies, missing where nothing is mapped),
            `level` (`int8`; of the last descriptor on the way) and `desc` (`uint64`; that descriptor).

        Example:
            >>> table = Stage2()
            >>> table.map(0, 0x20_0000, 0x4000_0000)
            0
            >>> table.lookup_many([0x1234, 0x40_0000])["pa"].tolist()
            [1073746484, <NA>]
        """
        return to_pandas(self._core.lookup_many(addresses("ipas", ipas)))

    def destroy(self) -> None:
        """Frees all table pages, without invalidations: the VMID is gone. (kvm_pgtable_stage2_destroy).

        Every later operation but another `destroy` is refused (`EINVAL`), and looking finds nothing.
        """
        self._core.destroy()

    def lookup(self, ipa: int) -> Leaf | None:
        """The leaf or annotation that covers `ipa`, `None` where there is none. (kvm_pgtable_get_leaf)."""
        found = self._core.lookup(ipa)
        return None if found is None else Leaf(**found)

    def leaves(self) -> pd.DataFrame:
        """All leaves and annotations in the order of addresses: a row each, the fields of `Leaf` as columns.

        The columns are Arrow's (`pandas.ArrowDtype`); `pa` and `memtype` are missing for annotations.

        Example:
            >>> table = Stage2("64K", ipa_bits=48)
            >>> table.map(0, 0x2_0000, 0x4000_0000, prot="rx")
            0
            >>> table.leaves()[["ipa", "size_bytes", "level", "kind"]].values.tolist()
            [[0, 65536, 3, 'page'], [65536, 65536, 3, 'page']]
        """
        return to_pandas(self._core.leaves())

    def invalidations(self) -> pd.DataFrame:
        """What the operations caused, oldest first: TLB invalidations, cache maintenance, freed subtrees.

        Columns: `call` (number of the operation on this table, from 0), `operation`, `event` (`tlbi_ipa`,
        `tlbi_ipa_nsh`, `tlbi_range`, `tlbi_vmid`, `dcache_clean`, `icache_invalidate`, `free_unlinked`,
        `warn`), `address` (of the guest for TLB invalidations, where the walk stood; physical for caches),
        `level` (missing: unknown, or no such thing), `pages`, `size_bytes`. The latest 2 ** 20 events are
        kept; `stats` counts all of them, and those that were dropped.
        """
        return to_pandas(self._core.invalidations())

    def dump(self) -> str:
        """The table as debugfs prints it (`stage2_page_tables`): ranges of equal entries, a line each.

        Example:
            >>> table = Stage2("4K", ipa_bits=32)
            >>> table.map(0x4000_0000, 0x4000_0000, 0x8000_0000, prot="rx")
            0
            >>> print(table.dump(), end="")
            ---[ Guest IPA ]---
            0x0000000000000000-0x0000000040000000           1G 2
            0x0000000040000000-0x0000000080000000           1G 2   R   px ux  AF BLK
            0x0000000080000000-0x0000000100000000           2G 2
        """
        return self._core.dump()

    def stats(self) -> dict[str, int]:
        """Sums: what the table holds now, and what happened to it since it was made.

        Now: `tables` (table pages, the root's included), `blocks`, `pages`, `annotations`, `mapped_bytes`,
        `table_bytes`. Since it was made: a count for each `event` of `invalidations`, `events_dropped` (no
        longer in `invalidations`), and `double_frees` and `count_underflows`, which are 0 in a table whose
        users keep to the rules.
        """
        return self._core.stats()

    def __repr__(self) -> str:
        core = self._core
        return (
            f"<Stage2 {core.granule}, {core.ipa_bits}-bit IPA, start level {core.start_level}, "
            f"{core.live_pages} table pages, walker {self.walker}>"
        )

    @property
    def walker(self) -> str:
        """How the table is walked: `fast` or `upstream`."""
        return self._core.walker

    @property
    def granule(self) -> str:
        """The page size by its name: `4K`, `16K` or `64K`."""
        return self._core.granule

    @property
    def ipa_bits(self) -> int:
        """The size of the guest's physical address space, in bits."""
        return self._core.ipa_bits

    @property
    def level_bits(self) -> int:
        """Address bits that a level resolves: a table has 2 ** `level_bits` entries."""
        return self._core.level_bits

    @property
    def start_level(self) -> int:
        """The level of the root."""
        return self._core.start_level

    @property
    def root_pages(self) -> int:
        """Concatenated table pages that form the root."""
        return self._core.root_pages

    @property
    def page_size(self) -> int:
        """Bytes of a page."""
        return self._core.page_size


def run_ops(text: str, *, walker: Walker = "upstream") -> str:
    """Runs a script of table operations and reports what each caused, returned and left behind.

    With `walker="fast"` the report may have fewer and wider invalidations; all else is the same.

    Script and report have the format of `data/golden` (its README describes it): a first line that says
    what table it is about, then an operation a line.

    Raises:
        InputError: a line is wrong; the message has its number, and nothing was run.

    Example:
        >>> print(run_ops("# granule 4k args --ipa-bits=40\\nget 0x1000\\n"), end="")
        CONFIG page-shift 12 ipa-bits 40 fwb 1 xnx 1 tlbrange 1 lpa2 0 as-s1 0 force-pte 0
        > get 0x1000
          LEAF level 1 0x0000000000000000
        = rc 0 tlbi 0 alloc 0 free 0 live 2
    """
    return _core.run_ops(text, walker)
