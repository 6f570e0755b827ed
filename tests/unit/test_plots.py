"""Figures of measurements: what is drawn is what is in the frame, in both forms."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle

from pyworkbench import InputError, plots
from pyworkbench.guest_figures import published_faults
from pyworkbench.plots import InteractiveFigure, SvgFigure
from pyworkbench.plots._style import OVERSUBSCRIBED, SERIES, TINT, VEGALITE_MIME
from pyworkbench.stats import slope

THREADS = (1, 2, 4, 8)
GIB = 1 << 30


def faults(**fixed: Any) -> pd.DataFrame:
    """Throughput and waits that are simple functions of lock, walk and threads; five repeats around the median."""
    rows = pd.DataFrame(
        {
            "lock": lock,
            "walk": walk,
            "threads": threads,
            "oversubscribed": threads > 2,
            "ops": 1000,
            "ops_per_s": factor * threads * 1e6 * (1 + 0.01 * (repeat - 2)),
            "read_wait_ns": 1000 * (threads - 1) if walk == "shared" else 0,
            "write_wait_ns": 50_000 * (threads - 1) if walk == "exclusive" else 0,
        }
        for lock, factor in (("qrwlock", 2.0), ("mcs", 1.0))
        for walk in ("shared", "exclusive")
        for threads in THREADS
        for repeat in range(5)
    )
    for name, value in fixed.items():
        rows = rows[rows[name] == value]
    return rows.astype(dict.fromkeys(("lock", "walk"), "category")).reset_index(drop=True)


def teardowns() -> pd.DataFrame:
    """Teardown times in proportion to the guest, holds in proportion to the step."""
    return pd.DataFrame(
        {
            "leaf_bytes": leaf,
            "guest_bytes": guest,
            "step_bytes": step,
            "teardown_ns": guest / leaf * 8 * (1 + 0.01 * (repeat - 2)),
            "longest_hold_ns": (step or guest) / leaf * 8,
            "unresched_ns": (step or guest) / leaf * 4,
        }
        for leaf in (4096, 2 << 20)
        for guest in (GIB, 16 * GIB, 256 * GIB)
        for step in (2 << 20, GIB, None)
        for repeat in range(5)
    ).astype({"step_bytes": "Int64"})


def holds() -> pd.DataFrame:
    """Histograms of two measurements: 98 short holds and 2 longer ones on the write side."""
    return pd.DataFrame(
        {"run": run, "lock_class": "kvm->mmu_lock", "side": side, "ns": ns, "count": count}
        for run in range(2)
        for side, ns, count in (("read", 50, 10), ("write", 100, 49), ("write", 10_000, 1))
    )


def sites() -> pd.DataFrame:
    """Two sites, one of them contended the more the more threads there are."""
    return pd.DataFrame(
        {"run": run, "threads": threads, "lock_class": "kvm->mmu_lock", "acquisitions": 1000, **site}
        for threads in (1, 4)
        for run in range(3)
        for site in (
            {"side": "write", "site": "kvm_age_gfn", "contentions": 7 * threads},
            {"side": "read", "site": "kvm_handle_guest_abort", "contentions": 100 * threads + run},
        )
    )


FIGURES: dict[str, Callable[..., SvgFigure | InteractiveFigure]] = {
    "throughput": lambda **how: plots.throughput(faults(), **how),
    "wait": lambda **how: plots.wait(faults(), **how),
    "hold_times": lambda **how: plots.hold_times(holds(), **how),
    "sites": lambda **how: plots.sites(sites(), **how),
    "teardown_time": lambda **how: plots.teardown_time(teardowns(), **how),
    "longest_hold": lambda **how: plots.longest_hold(teardowns(), **how),
    "heat_map": lambda **how: plots.heat_map(faults(walk="shared"), "threads", "lock", "ops_per_s", **how),
    "faults_beside_published": lambda **how: plots.faults_beside_published(faults(lock="mcs"), **how),
}


def rows_in(figure: SvgFigure | InteractiveFigure) -> list[dict[str, Any]]:
    """The rows that an interactive figure has in it; of several tables the longest."""
    assert isinstance(figure, InteractiveFigure)
    found: list[dict[str, Any]] = max(figure.spec["datasets"].values(), key=len)
    return found


def lines(figure: SvgFigure, panel: int = 0) -> list[tuple[Any, Any]]:
    """The points of the lines that are drawn in a panel, without the empty ones of the legend."""
    drawn = ((line.get_xdata(), line.get_ydata()) for line in figure.axes[panel].lines if line.get_linestyle() == "-")
    return [(list(np.asarray(x, float)), list(np.asarray(y, float))) for x, y in drawn if len(np.asarray(x))]


@pytest.mark.parametrize("name", FIGURES)
def test_a_static_figure_is_svg_with_a_description(name: str) -> None:
    figure = FIGURES[name]()
    assert isinstance(figure, SvgFigure)
    data, metadata = figure._repr_mimebundle_()
    assert data["image/svg+xml"].startswith("<?xml")
    assert len(metadata["image/svg+xml"]["alt"]) > 30


@pytest.mark.parametrize("name", FIGURES)
def test_an_interactive_figure_has_the_same_data_and_needs_no_network(name: str) -> None:
    static, figure = FIGURES[name](), FIGURES[name](interactive=True)
    assert isinstance(figure, InteractiveFigure)
    assert figure.description == static.description
    data, metadata = figure._repr_mimebundle_()
    assert metadata["image/svg+xml"]["alt"] == figure.description
    spec = json.loads(json.dumps(data[VEGALITE_MIME], allow_nan=False))
    assert "url" not in re.findall(r'"(\w+)": ', json.dumps(spec))
    assert set(re.findall(r"https?://[^\"' ]*", json.dumps(spec))) == {spec["$schema"]}
    assert set(re.findall(r"https?://[^\"' ]*", data["image/svg+xml"])) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    shown = rows_in(figure)
    assert len(shown) == len(static.data)
    for column in {"median", "low", "high", "longer", "contentions", "speed_up"} & {*static.data}:
        there = [np.nan if row[column] is None else row[column] for row in shown]
        assert there == pytest.approx(static.data[column].to_numpy(float).tolist(), nan_ok=True)


@pytest.mark.parametrize("name", FIGURES)
def test_the_vega_lite_of_jupyterlab_understands_a_figure(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    figure = FIGURES[name](interactive=True)
    assert isinstance(figure, InteractiveFigure)
    assert figure.spec["$schema"].endswith("/v5.json")
    assert vl_convert.vegalite_to_vega(figure.spec, vl_version="5.8")["marks"]
    assert capfd.readouterr().err == ""


def test_throughput_draws_medians_and_their_intervals() -> None:
    figure = plots.throughput(faults())
    by_series = {str(name): mine for name, mine in figure.data.groupby("series", observed=True)}
    assert sorted(by_series) == ["mcs, exclusive", "mcs, shared", "qrwlock, exclusive", "qrwlock, shared"]
    drawn = lines(figure)
    for name, factor in (("mcs, shared", 1), ("qrwlock, exclusive", 2)):
        expected = [factor * threads for threads in THREADS]
        assert by_series[name]["median"].tolist() == pytest.approx(expected)
        assert any(y == pytest.approx(expected) and x == [0, 1, 2, 3] for x, y in drawn)
    bands = [artist for artist in figure.axes[0].collections if isinstance(artist, PolyCollection)]
    heights = sorted(float(np.asarray(path.vertices)[:, 1].max()) for band in bands for path in band.get_paths())
    assert heights == pytest.approx(sorted(mine["high"].max() for mine in by_series.values()))
    assert heights[-1] == pytest.approx(2 * 8 * 1.02)


def test_more_threads_than_cores_have_another_ground() -> None:
    svg = plots.throughput(faults()).svg()
    assert "more threads than cores" in svg
    spec = json.dumps(plots.throughput(faults(), interactive=True)._repr_mimebundle_()[0][VEGALITE_MIME])
    assert TINT in spec
    assert "Tinted: more threads than cores" in spec
    fitting = faults().assign(oversubscribed=False)
    assert "more threads" not in plots.throughput(fitting).svg()
    (span,) = plots.throughput(faults()).axes[0].patches
    assert isinstance(span, Rectangle)
    assert span.get_facecolor()[:3] == pytest.approx([int(OVERSUBSCRIBED[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    assert span.get_x() == 1.5  # 4 threads are the third of the four counts, and there are two cores


def test_doubtful_medians_are_hollow() -> None:
    few = faults(lock="mcs", walk="shared")[::2]
    figure = plots.throughput(few)
    assert figure.data["doubtful"].all()
    marks = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert {line.get_markerfacecolor() for line in marks} == {"white"}
    sure = [line for line in plots.throughput(faults()).axes[0].lines if line.get_linestyle() == "None"]
    assert "white" not in {line.get_markerfacecolor() for line in sure}


def test_wait_is_of_both_sides_over_the_operations() -> None:
    data = plots.wait(faults(lock="mcs")).data.set_index(["walk", "threads"])["median"]
    assert data["shared"].tolist() == [0, 1, 3, 7]
    assert data["exclusive"].tolist() == [0, 50, 150, 350]


def test_more_configurations_than_colours_go_to_panels_and_too_many_are_refused() -> None:
    many = pd.concat([faults().assign(pattern=pattern) for pattern in ("disjoint", "overlapping", "other")])
    figure = plots.throughput(many)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == [f"{lock}, {walk}" for lock in ("mcs", "qrwlock") for walk in ("exclusive", "shared")]
    assert sum(len(lines(figure, panel)) for panel in range(len(figure.axes))) == 12
    worse = pd.concat([faults().assign(sparsity=sparsity, op_bytes=4096 * sparsity) for sparsity in range(1, 14)])
    with pytest.raises(InputError, match=r"more configurations .*13 of sparsity.*fewer rows, or fewer columns in `by`"):
        plots.throughput(worse)


def test_no_title_and_no_legend_covers_another() -> None:
    many = pd.concat([faults().assign(pattern=pattern) for pattern in ("disjoint", "overlapping", "other")])
    many = pd.concat([many.assign(variant=f"a kernel whose name is long, number {number}") for number in (1, 2)])
    figure = plots.throughput(many)
    figure.draw_without_rendering()
    drawn = [axes for axes in figure.axes if axes.axison]
    assert len(drawn) > 6
    # The left title is the one that is used; matplotlib has no getter of it as an artist.
    boxes = [axes._left_title.get_window_extent() for axes in drawn]  # type: ignore[attr-defined]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    boxes += [axes.patch.get_window_extent() for axes in drawn]
    for at, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:at])
        assert one.x0 >= 0
        assert one.x1 <= figure.bbox.x1 + 1


def test_series_differ_in_colour_and_in_shape() -> None:
    colours, shapes = zip(*SERIES, strict=True)
    assert len(set(colours)) == len(set(shapes)) == len(SERIES) == 8


def test_hold_times_are_shares_of_all_holds() -> None:
    figure = plots.hold_times(holds())
    assert figure.data[["side", "ns", "longer", "holds"]].to_numpy().tolist() == [
        ["read", 50, 0, 20],
        ["write", 100, 0.02, 100],
        ["write", 10_000, 0, 100],
    ]
    titles = [axes.get_title(loc="left") for axes in figure.axes[:2]]
    assert titles == [
        "kvm->mmu_lock (read), longest 50 ns",
        "kvm->mmu_lock (write), longest 10 µs",
    ]
    ((x, y),) = lines(figure, 1)
    assert (x, y) == ([100, 100, 10_000], pytest.approx([1, 0.02, 0.005]))


def test_sites_are_medians_most_contended_first() -> None:
    figure = plots.sites(sites())
    places = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert places == ["kvm_handle_guest_abort\n(read)", "kvm_age_gfn\n(write)"]
    widths = [patch.get_width() for patch in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert widths == [101, 401, 7, 28]
    assert "4 threads: 401 of 1,000 waited" in figure.svg()


def test_the_slope_of_teardown_time_stands_in_the_legend() -> None:
    rows = teardowns()
    whole = rows[rows["step_bytes"].isna()]
    figure = plots.teardown_time(whole)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    expected = slope(whole, by="leaf_bytes")
    assert names == [
        f"mapping {size}, slope {row['slope']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        for size, row in zip(("4 KiB", "2 MiB"), expected.to_dict("records"), strict=True)
    ]
    assert expected["slope"].tolist() == pytest.approx([1, 1])
    assert lines(figure)[0] == ([GIB, 16 * GIB, 256 * GIB], pytest.approx([2**21, 2**25, 2**29]))
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "log")
    assert {row["series"] for row in rows_in(plots.teardown_time(whole, interactive=True))} == set(names)


@pytest.mark.parametrize(("column", "over"), [("longest_hold_ns", 1), ("unresched_ns", 1)])
def test_the_longest_hold_stands_against_steps_with_the_limit(column: Any, over: int) -> None:
    rows = teardowns()
    figure = plots.longest_hold(rows[rows["leaf_bytes"] == 4096], column=column)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2 MiB", "1 GiB", "whole"]
    assert int(figure.data["over"].sum()) == over
    limit = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [np.asarray(line.get_ydata()).tolist() for line in limit] == [[100e6, 100e6]]
    unit = 8 if column == "longest_hold_ns" else 4
    last = [y[-1] for _, y in lines(figure)]
    assert last == [guest / 4096 * unit for guest in (GIB, 16 * GIB, 256 * GIB)]
    assert "100 ms: rescheduling is overdue" in figure.svg()


def test_a_heat_map_has_a_cell_for_each_pair() -> None:
    rows = faults(walk="shared")
    rows = rows[(rows["lock"] == "mcs") | (rows["threads"] < 8)]
    figure = plots.heat_map(rows, "threads", "lock", "ops_per_s")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1 thread", "2 threads", "4 threads", "8 threads"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["mcs", "qrwlock"]
    (image,) = axes.images
    assert np.asarray(image.get_array().filled(np.nan)).tolist() == pytest.approx(  # type: ignore[union-attr]
        np.array([[1e6, 2e6, 4e6, 8e6], [2e6, 4e6, 8e6, np.nan]]), nan_ok=True
    )
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["1e+06", "2e+06", "4e+06*", "8e+06*", "2e+06", "4e+06", "8e+06*"]
    assert len(axes.patches) == 1  # what was not measured


def test_published_faults_are_as_published() -> None:
    found = published_faults()
    dirty = found[found["phase"] == "dirty"].pivot(index="threads", columns="walk", values="seconds")
    assert dirty["exclusive"].to_dict() == {1: 0.87, 8: 5.01, 16: 8.89, 32: 19.90, 48: 32.10}
    assert dirty["shared"].to_dict() == {1: 0.93, 8: 1.39, 16: 2.07, 32: 4.45, 48: 6.23}
    populate = found[found["phase"] == "populate"].pivot(index="threads", columns="walk", values="seconds")
    assert populate.to_dict() == {"exclusive": {1: 0.21, 48: 3.94}, "shared": {1: 0.17, 48: 1.55}}
    assert (found.loc[found["threads"] == 1, "speed_up"] == 1).all()
    at = found[(found["phase"] == "dirty") & (found["threads"] == 8) & (found["walk"] == "exclusive")]
    assert at["speed_up"].tolist() == pytest.approx([8 * 0.87 / 5.01])
    assert "dirty_log_perf_test" in found.attrs["source"]


def test_measured_speed_ups_stand_beside_the_published_with_what_they_can_say() -> None:
    figure = plots.faults_beside_published(faults(lock="qrwlock"))
    mine = figure.data[figure.data["source"] == "measured here"]
    assert mine[mine["walk"] == "shared"]["speed_up"].tolist() == pytest.approx([1, 2, 4, 8])
    assert mine.groupby("threads")["oversubscribed"].all().to_dict() == {1: False, 2: False, 4: True, 8: True}
    assert len(figure.data) - len(mine) == len(published_faults())
    assert "Up to 2 threads have a core each here; beyond (hollow)" in figure.description
    assert "cannot say where the curves bend" in figure.description
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert sorted({float(x) for line in hollow for x in np.asarray(line.get_xdata())}) == [4, 8]


EMPTY = faults()[:0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.throughput(EMPTY), "the frame has no row"),
        (
            lambda: plots.throughput(faults().drop(columns="ops_per_s")),
            "no column ops_per_s: it has lock, walk, threads",
        ),
        (lambda: plots.throughput(faults().drop(columns="threads")), "no column threads"),
        (lambda: plots.throughput(faults(), by="locks"), "no column locks: did you mean lock"),
        (
            lambda: plots.wait(faults().assign(write_wait_ns=np.nan)),
            "column write_wait_ns is empty: .*counters='times'",
        ),
        (lambda: plots.wait(faults().drop(columns="read_wait_ns")), "no column read_wait_ns"),
        (lambda: plots.hold_times(holds()[:0]), "no hold was recorded: .*counters='times'"),
        (lambda: plots.hold_times(holds().drop(columns="count")), "no column count"),
        (lambda: plots.sites(sites()[:0]), "no site was recorded: counters="),
        (lambda: plots.sites(sites().drop(columns="site")), "no column site"),
        (lambda: plots.teardown_time(teardowns()[:0]), "the frame has no row"),
        (lambda: plots.teardown_time(teardowns()[:1]), "2 values of guest_bytes are needed"),
        (lambda: plots.teardown_time(teardowns().assign(teardown_ns=np.nan)), "column teardown_ns is empty"),
        (lambda: plots.longest_hold(teardowns().drop(columns="step_bytes")), "no column step_bytes"),
        (lambda: plots.longest_hold(teardowns(), column="hold_ns"), "'hold_ns' is none of 'longest_hold_ns'"),  # type: ignore[call-overload]
        (lambda: plots.heat_map(faults(), "threads", "lock", "ops_per_s"), r"vary in more .*\(walk: shared, exclusive"),
        (lambda: plots.heat_map(faults(), "threads", "threads", "ops_per_s"), "x and y are both threads"),
        (lambda: plots.heat_map(faults(), "threads", "ops", "ops_per_s"), "ops is no configuration column"),
        (lambda: plots.faults_beside_published(faults()), r"vary in more .*\(lock: "),
        (
            lambda: plots.faults_beside_published(faults(lock="mcs").query("threads > 1")),
            "no row is of one thread",
        ),
    ],
)
def test_what_cannot_be_drawn_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_the_package_and_static_figures_do_not_import_altair() -> None:
    code = (
        "import sys, pyworkbench, pandas as pd\n"
        "print({'altair', 'vl_convert', 'matplotlib'} & {*sys.modules})\n"
        "from pyworkbench import plots\n"
        "plots.throughput(pd.DataFrame({'threads': [1, 2], 'ops_per_s': [1.0, 2.0]})).svg()\n"
        "print({'altair', 'vl_convert'} & {*sys.modules})\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n") == ["set()", "set()", ""]
