"""A `Stage2` against a plain model: a dict from each page to the leaf that maps it.

The model knows no tables, no counts and no invalidations; it encodes descriptors itself, from the Arm ARM
(D8.3). Random sequences of operations over all geometries must leave the same leaves, descriptor for
descriptor, and give the same answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyworkbench import Stage2

if TYPE_CHECKING:
    from pyworkbench.table import Walker

EAGAIN = -11
PAGE_SHIFT = {"4K": 12, "16K": 14, "64K": 16}
FIRST_BLOCK_LEVEL = {"4K": 1, "16K": 2, "64K": 2}
LAST = 3


@dataclass(frozen=True)
class Geometry:
    granule: str
    ipa_bits: int
    level_bits: int
    flags: tuple[tuple[str, int], ...] = ()

    def table(self, walker: Walker) -> Stage2:
        own = PAGE_SHIFT[self.granule] - 3
        level_bits = None if self.level_bits == own else self.level_bits
        flags: dict[str, Any] = dict(self.flags)
        return Stage2(self.granule, self.ipa_bits, level_bits=level_bits, walker=walker, strict=False, **flags)  # type: ignore[arg-type]

    def pages(self, level: int) -> int:
        """Pages that a leaf of `level` maps."""
        return 1 << (LAST - level) * self.level_bits

    def flag(self, name: str, default: bool) -> bool:
        return bool(dict(self.flags).get(name, default))


GEOMETRIES = [
    Geometry("4K", 40, 9),
    Geometry("4K", 48, 9, (("fwb", False), ("tlb_range", False))),
    Geometry("4K", 52, 9, (("lpa2", True),)),
    Geometry("4K", 32, 9, (("as_s1", True),)),
    Geometry("4K", 36, 9, (("force_pte", True),)),
    Geometry("16K", 40, 11),
    Geometry("16K", 48, 11, (("xnx", False),)),
    Geometry("16K", 52, 11, (("lpa2", True), ("fwb", False))),
    Geometry("64K", 52, 13),
    Geometry("64K", 34, 13, (("as_s1", True), ("fwb", False))),
    Geometry("4K", 18, 2),
    Geometry("4K", 24, 3, (("start_level", 0),)),
    Geometry("16K", 20, 2),
    Geometry("64K", 25, 3),
]


@dataclass(frozen=True)
class Leaf:
    """A leaf of the model; an annotation has no permissions and its descriptor in `annotation`."""

    first: int
    level: int
    pa: int = 0
    r: bool = False
    w: bool = False
    xn: int = 2
    memtype: str = "normal"
    software: int = 0
    af: bool = True
    annotation: int = 0


@dataclass
class Model:
    geometry: Geometry
    start_level: int
    pages: dict[int, Leaf] = field(default_factory=dict)

    def leaves(self) -> list[Leaf]:
        return [leaf for page, leaf in sorted(self.pages.items()) if page == leaf.first]

    def touched(self, first: int, count: int) -> list[Leaf]:
        return list(dict.fromkeys(self.pages[p] for p in range(first, first + count) if p in self.pages))

    def put(self, leaf: Leaf) -> None:
        self.remove_from(leaf.first, self.geometry.pages(leaf.level))
        for page in range(leaf.first, leaf.first + self.geometry.pages(leaf.level)):
            self.pages[page] = leaf

    def remove_from(self, first: int, count: int) -> None:
        """Removes what maps any of these pages; a block touched in part goes whole."""
        for leaf in self.touched(first, count):
            for page in range(leaf.first, leaf.first + self.geometry.pages(leaf.level)):
                self.pages.pop(page, None)

    def map(self, first: int, count: int, pa_page: int, new: Leaf) -> int:
        page = first
        while page < first + count:
            level = self.level_that_fits(page, first + count, pa_page + page - first)
            shift = PAGE_SHIFT[self.geometry.granule]
            leaf = replace(new, first=page, level=level, pa=(pa_page + page - first) << shift)
            old = self.pages.get(page)
            if old is not None and (old.first, old.level) == (page, level) and not self.updates(old, leaf):
                return EAGAIN
            self.put(leaf)
            page += self.geometry.pages(level)
        return 0

    def level_that_fits(self, page: int, end: int, pa_page: int) -> int:
        if self.geometry.flag("force_pte", False):
            return LAST
        for level in range(max(FIRST_BLOCK_LEVEL[self.geometry.granule], self.start_level), LAST):
            pages = self.geometry.pages(level)
            if page % pages == 0 and pa_page % pages == 0 and end - page >= pages:
                return level
        return LAST

    def updates(self, old: Leaf, new: Leaf) -> bool:
        """Whether more than permissions differ."""
        if old.annotation:
            return True
        same = replace(old, r=new.r, w=new.w, xn=new.xn)
        return self.descriptor(same) != self.descriptor(new)

    def annotate(self, first: int, count: int, kind: int, value: int) -> int:
        for page in range(first, first + count):
            self.put(Leaf(page, LAST, annotation=kind << 60 | value))
        return 0

    def change(self, leaf: Leaf, **changes: Any) -> None:
        if not leaf.annotation:
            self.put(replace(leaf, **changes))

    def wrprotect(self, first: int, count: int) -> int:
        for leaf in self.touched(first, count):
            self.change(leaf, w=False)
        return 0

    def test_clear_young(self, first: int, count: int, mkold: bool) -> bool:
        young = [leaf for leaf in self.touched(first, count) if leaf.af and not leaf.annotation]
        for leaf in young if mkold else []:
            self.change(leaf, af=False)
        return bool(young)

    def mkyoung(self, page: int) -> None:
        for leaf in self.touched(page, 1):
            self.change(leaf, af=True)

    def relax_perms(self, page: int, prot: str) -> int:
        leaf = self.pages.get(page)
        if leaf is None or leaf.annotation:
            return EAGAIN
        xn = leaf.xn if execute_never(prot) == 2 else execute_never(prot)
        self.change(leaf, r=leaf.r or "r" in prot, w=leaf.w or "w" in prot, xn=xn)
        return 0

    def split(self, first: int, count: int) -> int:
        shift = PAGE_SHIFT[self.geometry.granule]
        for leaf in self.touched(first, count):
            if leaf.level == LAST:
                continue
            for page in range(leaf.first, leaf.first + self.geometry.pages(leaf.level)):
                pa = leaf.pa + (page - leaf.first << shift)
                self.put(replace(leaf, first=page, level=LAST, pa=pa, af=True, memtype="normal"))
        return 0

    def descriptor(self, leaf: Leaf) -> int:
        if leaf.annotation:
            return leaf.annotation
        lpa2 = self.geometry.flag("lpa2", False)
        if self.geometry.flag("as_s1", False):
            attr = 7 if self.geometry.flag("fwb", True) else 0xF
        else:
            normal = 6 if self.geometry.flag("fwb", True) else 0xF
            attr = {"normal": normal, "nc": 5, "device": 1}[leaf.memtype]
        if self.geometry.granule == "64K":
            address = leaf.pa & (1 << 48) - 1 | leaf.pa >> 48 << 12
        elif lpa2:
            address = leaf.pa & (1 << 50) - 1 | leaf.pa >> 50 << 8
        else:
            address = leaf.pa
        return (
            1
            | (leaf.level == LAST) << 1
            | attr << 2
            | leaf.r << 6
            | leaf.w << 7
            | (0 if lpa2 else 3 << 8)
            | leaf.af << 10
            | leaf.xn << 53
            | leaf.software << 55
            | address
        )


def execute_never(prot: str) -> int:
    """The XN field for the letters `x`, `u`, `p`, or none of them."""
    at_el1, at_el0 = "x" in prot or "p" in prot, "x" in prot or "u" in prot
    return {(True, True): 0, (False, True): 1, (False, False): 2, (True, False): 3}[at_el1, at_el0]


def prots(geometry: Geometry) -> st.SearchStrategy[str]:
    execute = ["", "x", "u", "p"] if geometry.flag("xnx", True) else ["", "x"]
    return st.tuples(st.sampled_from(["", "r", "w", "rw"]), st.sampled_from(execute)).map("".join)


def odd_ranges(block: int) -> st.SearchStrategy[tuple[int, int]]:
    firsts = [0, block, 1, block - 1, 2 * block + 3]
    return st.tuples(st.sampled_from(firsts), st.sampled_from([1, 1, 2, block, block + 1]))


@st.composite
def ranges(draw: st.DrawFn, geometry: Geometry) -> tuple[int, int]:
    """A few ranges at the borders of the last blocks of the space, so that operations meet."""
    block = geometry.pages(2)
    space = 1 << geometry.ipa_bits - PAGE_SHIFT[geometry.granule]
    window = min(space, 4 * block)
    first, count = draw(st.sampled_from([(0, block), (block, block), (0, 4 * block)]) | odd_ranges(block))
    first = min(first, window - 1)
    return space - window + first, min(count, window - first)


@st.composite
def operations(draw: st.DrawFn, geometry: Geometry) -> tuple[Any, ...]:
    first, count = draw(ranges(geometry))
    name = draw(
        st.sampled_from(["map", "map", "map", "unmap", "wrprotect", "age", "mkyoung", "relax", "split", "annotate"])
    )
    match name:
        case "map":
            memtype = draw(st.sampled_from(["normal", "normal", "nc", "device"]))
            prot = draw(prots(geometry) if memtype == "normal" else st.sampled_from(["r", "rw", "w", ""]))
            software = draw(st.sampled_from(["", "", "0", "13"]))
            block = geometry.pages(2)
            top = 1 << (52 if geometry.flag("lpa2", False) or geometry.granule == "64K" else 48)
            last_blocks = (top >> PAGE_SHIFT[geometry.granule]) - 8 * block
            pa_page = last_blocks + draw(st.sampled_from([first % block, first % block, first % block + block, 3]))
            return name, first, count, pa_page, prot, memtype, software, draw(st.booleans())
        case "relax":
            return name, first, draw(prots(geometry))
        case "age":
            return name, first, count, draw(st.sampled_from([True, True, False]))
        case "annotate":
            return (
                name,
                first,
                min(count, 8),
                draw(st.integers(2, 15)),
                draw(st.sampled_from([0x10, 0xABC << 12])),
            )
        case "mkyoung":
            return name, first
    return name, first, count


def apply(table: Stage2, model: Model, operation: tuple[Any, ...]) -> tuple[Any, Any]:
    """What the table and the model answer."""
    shift = PAGE_SHIFT[model.geometry.granule]
    match operation:
        case "map", first, count, pa_page, prot, memtype, software, shared:
            bits = sum(1 << int(bit) for bit in software)
            leaf = Leaf(0, 0, 0, "r" in prot, "w" in prot, execute_never(prot), memtype, bits)
            return (
                table.map(first << shift, count << shift, pa_page << shift, prot + software, memtype, shared=shared),
                model.map(first, count, pa_page, leaf),
            )
        case "relax", first, prot:
            return table.relax_perms(first << shift, prot), model.relax_perms(first, prot)
        case "age", first, count, mkold:
            return (
                table.test_clear_young(first << shift, count << shift, mkold),
                model.test_clear_young(first, count, mkold),
            )
        case "mkyoung", first:
            table.mkyoung(first << shift)
            model.mkyoung(first)
            return None, None
        case "annotate", first, count, kind, value:
            return (
                table.annotate(first << shift, count << shift, kind, value),
                model.annotate(first, count, kind, value),
            )
        case "unmap", first, count:
            model.remove_from(first, count)
            return table.unmap(first << shift, count << shift), 0
        case name, first, count:
            return (
                getattr(table, name)(first << shift, count << shift),
                getattr(model, name)(first, count),
            )
    raise AssertionError(operation)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_table_holds_what_a_plain_dict_of_pages_holds(data: st.DataObject) -> None:
    geometry = data.draw(st.sampled_from(GEOMETRIES), label="geometry")
    walkers: list[Walker] = ["fast", "upstream"]
    table = geometry.table(data.draw(st.sampled_from(walkers), label="walker"))
    model = Model(geometry, table.start_level)
    shift = PAGE_SHIFT[geometry.granule]
    for operation in data.draw(st.lists(operations(geometry), min_size=5, max_size=20), label="operations"):
        answer, expected = apply(table, model, operation)
        assert answer == expected
    frame = table.leaves()
    found = list(zip(*(frame[name].to_numpy().tolist() for name in ("ipa", "level", "desc")), strict=True))
    assert found == [(leaf.first << shift, leaf.level, model.descriptor(leaf)) for leaf in model.leaves()]
    stats = table.stats()
    assert (stats["double_frees"], stats["count_underflows"], stats["warn"]) == (0, 0, 0)
    table.destroy()
    assert table.stats()["tables"] == 0
