"""Explorations, as Python and the command line see them. What verdicts follow from is tested beside the model."""

import json
import pickle
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from xml.etree import ElementTree as ET

import pytest

from pyworkbench import (
    InputError,
    Verdict,
    explore,
    first_findings,
    orderings,
    replay_schedule,
    verdict_matrix,
)

from .test_cli import pwb

RACE = "flush-race-filled"
TEXT = "setup cache=filled; task T1: exit; task T2 fds=vm: close vm"


def test_the_unfixed_race_is_a_bug_that_names_object_schedule_and_both_sides(bug: Verdict) -> None:
    assert bug.answer == "Bug"
    assert bug.bug is not None
    assert bug.bug.kind in {"double-free", "use-after-free"}
    assert bug.bug.object == "kvm.arch.split_page_cache.objects"
    assert {step["thread"] for step in bug.bug.steps} == {"T1", "T2"}
    assert not bug.complete
    assert "kvm_mmu_free_memory_cache" in str(bug)
    assert bug.bug.schedule in str(bug)


def test_a_fixed_race_is_proved_and_says_for_what() -> None:
    verdict = explore(RACE, strategy="claim-under-lock")
    assert (verdict.answer, verdict.complete, verdict.bug, verdict.schedule) == ("Proved", True, None, None)
    assert verdict.classes > 1
    scope = verdict.scope
    assert (scope["variant"], scope["strategy"], scope["walker"]) == ("arm64-7.3", "claim-under-lock", "upstream")
    assert scope["threads"] == ("T1", "T2")
    assert scope["guest_pages"] == 1
    assert scope["geometry"] == "16K pages, 16-bit IPA, levels 2 to 3, 2 entries a table"
    assert scope["scenario_text"].splitlines()[1:] == ["task T1: exit", "task T2 fds=vm: close vm"]
    assert scope["memory"] == "sequential consistency"
    assert len(scope["checkers"]) == 7


def test_a_verdict_names_the_walker_and_the_table_that_the_scenario_sets_up() -> None:
    fast = explore(f"setup walker=fast shape=deep; {TEXT.partition('; ')[2]}")
    assert fast.walker == "fast"
    assert "walker fast" in str(fast)
    assert "levels 1 to 3" in fast.geometry
    assert json.loads(json.dumps(fast.as_json()))["walker"] == "fast"
    other = explore("flush-race", variant="mips-7.3")
    assert (other.walker, other.geometry) == ("upstream", "a root and a level below it, 2 entries a table")


def test_ladders_and_races_name_the_fields_of_kernel_objects(bug: Verdict) -> None:
    assert bug.bug is not None
    assert "kvm->arch.mmu.split_page_cache.nobjs is 0\n" in bug.bug.ladder
    every = explore(RACE, stop_at_first=False)
    for finding in [*bug.findings, *every.findings]:
        assert not re.search(r"\bkvm\[\d", finding.ladder)
    races = {one.object for one in every.findings if one.kind == "data-race"}
    assert "kvm->arch.mmu.split_page_cache.objects" in races
    assert "kvm" not in races


def test_a_search_that_is_exhausted_says_what_its_bound_means() -> None:
    verdict = explore(RACE, strategy="claim-under-lock", search="pct", executions=50)
    assert verdict.says is not None
    assert "probability" in verdict.says
    assert verdict.says in str(verdict)
    assert explore(RACE, strategy="claim-under-lock").says is None


def test_the_same_exploration_gives_the_same_answer(bug: Verdict) -> None:
    def facts(verdict: Verdict) -> object:
        return verdict.answer, verdict.executions, verdict.actions, verdict.schedule, verdict.frame().to_dict("records")

    assert facts(explore(RACE)) == facts(bug)
    looked = [explore(RACE, search="random", seed=7, executions=5000) for _ in range(2)]
    assert facts(looked[0]) == facts(looked[1])


def test_a_text_and_a_strategy_of_parts_are_what_their_names_stand_for(bug: Verdict) -> None:
    own = explore(TEXT, strategy="hold=nobody cache=inside")
    assert own.bug is not None
    assert bug.bug is not None
    assert (own.bug.kind, own.bug.object) == (bug.bug.kind, bug.bug.object)
    again = replay_schedule(own.bug.schedule)
    assert again.bug is not None
    assert (again.bug.kind, again.bug.object) == (own.bug.kind, own.bug.object)


def test_every_finding_is_shown_again_by_its_schedule(bug: Verdict) -> None:
    for finding in bug.findings:
        again = replay_schedule(finding.schedule)
        assert any((one.kind, one.object) == (finding.kind, finding.object) for one in again.findings), finding


def test_every_action_is_in_the_ladder_when_asked_for(bug: Verdict) -> None:
    assert bug.schedule is not None
    short, whole = (replay_schedule(bug.schedule, every_action=every) for every in (False, True))
    assert short.bug is not None
    assert whole.bug is not None
    assert len(short.bug.lines) < 20 < len(whole.bug.lines)


def test_a_budget_that_ends_is_never_a_proof() -> None:
    for how in ({"executions": 3}, {"time_s": 0.0}, {"search": "random", "executions": 20}, {"actions": 20}):
        verdict = explore(RACE, strategy="claim-under-lock", **how)
        assert (verdict.answer, verdict.complete) == ("Exhausted", False), how
        assert verdict.why


def test_progress_that_answers_false_stops_and_what_it_raises_is_raised() -> None:
    calls: list[tuple[int, int, float]] = []

    def stop(executions: int, frontier: int, elapsed_s: float) -> bool:
        calls.append((executions, frontier, elapsed_s))
        return False

    verdict = explore(RACE, strategy="claim-under-lock", search="dfs", progress=stop)
    assert (verdict.answer, verdict.why, len(calls)) == ("Exhausted", "stopped", 1)
    assert calls[0][0] > 0

    def fail(*_: float) -> None:
        raise RuntimeError("from progress")

    with pytest.raises(RuntimeError, match="from progress"):
        explore(RACE, strategy="claim-under-lock", search="dfs", progress=fail)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"scenario": "flush-rice"}, "flush-race"),
        ({"scenario": RACE, "variant": "arm64-7.4"}, "arm64-7.3"),
        ({"scenario": RACE, "strategy": "hope"}, "claim-under-lock"),
        ({"scenario": RACE, "search": "luck"}, "dpor"),
        ({"scenario": RACE, "checkers": ["memori"]}, "memory"),
        ({"scenario": RACE, "search": "random"}, "executions or time_s"),
        ({"scenario": RACE, "time_s": -1.0}, "time_s -1"),
        ({"scenario": RACE, "variant": "mips-7.3"}, "no split cache"),
    ],
)
def test_a_wrong_name_is_one_error_that_says_what_would_be_right(arguments: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        explore(**arguments)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("hello", "is no schedule"),
        ("pwb9:flush-race arm64-7.3 none:0", "version"),
        ("pwb1:flush-race none:0", "does not consist of"),
        (f"pwb1:{RACE} arm64-7.3 claim-under-lock:0x1000", "does not fit"),
        (f"pwb1:{RACE} arm64-7.3 claim-under-lock:7", "does not fit"),
    ],
)
def test_a_schedule_that_cannot_be_run_says_why(schedule: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        replay_schedule(schedule)
    code, out, err = pwb("explore", "--replay", schedule)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_the_matrix_has_a_row_for_every_cell_with_a_reason_where_there_is_no_verdict() -> None:
    named = ["none", "lock-flush-naive", "claim-under-lock"]
    matrix = verdict_matrix([RACE], variants=["arm64-7.3", "mips-7.3"], strategies=named)
    assert matrix["verdict"].tolist() == ["Bug", "Bug", "Proved", "n/a", "n/a", "n/a"]
    assert matrix["kinds"][1] == "deadlock"
    assert matrix["complete"][:3].all()
    assert matrix["what"][3:].str.contains("mips-7.3").all()
    single = explore(RACE, stop_at_first=False)
    assert matrix["kinds"][0].split(", ") == list(single.first_kinds)
    assert (matrix["classes"][0], matrix["schedule"][0]) == (single.classes, single.schedule)


def test_the_matrix_of_other_processes_is_the_same() -> None:
    matrix = partial(verdict_matrix, [RACE], variants=["arm64-7.3"], strategies=["none", "claim-under-lock"])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        there = matrix(executor=executor)
    here = matrix()
    assert there.drop(columns="elapsed_s").equals(here.drop(columns="elapsed_s"))
    with pytest.raises(InputError, match="way: not an argument of explore"):
        verdict_matrix([RACE], way="dpor")


SET = "setup cache=filled; task T1 fds=vm: close vm, exit; task T2 fds=vm: close vm"


def test_orders_say_who_tears_down_and_whether_two_may_at_once() -> None:
    orders = orderings(SET)
    assert orders.attrs["complete"]
    # T1 exits last of its own steps; T2's close may come before, between or after them.
    assert sorted(orders["order"]) == [
        "T1 close vm; T1 exit; T2 close vm",
        "T1 close vm; T2 close vm; T1 exit",
        "T2 close vm; T1 close vm; T1 exit",
    ]
    by_order = orders.set_index("order")
    assert (orders["flushes"] == 1).all()
    # Where T1 drops the last reference itself, its exit comes after it.
    assert by_order["may_overlap"].tolist() == [True, True, False]
    assert by_order["paths"].iloc[2] == "kvm_destroy_vm by T1, (exit_mmap by T1)"
    few = orderings(SET, limit=2)
    assert (len(few), few.attrs["complete"]) == (2, False)


def test_an_order_that_may_overlap_is_a_bug_and_one_that_may_not_is_proved() -> None:
    cells: list[int] = []
    orders = orderings(SET, prove=3, progress=lambda _, total: cells.append(total))
    assert set(cells) == {2}  # the two that may overlap are one scenario
    assert orders["verdict"].tolist() == ["Bug", "Bug", "Proved"]
    first = replay_schedule(orders["schedule"][0])
    assert first.bug is not None
    assert first.bug.object == "kvm.arch.split_page_cache.objects"
    fixed = orderings(SET, prove=1, strategy="claim-under-lock")
    assert fixed["verdict"].tolist()[0] == "Proved"
    assert fixed["verdict"][1:].isna().all()
    with pytest.raises(InputError, match="way: not an argument of explore"):
        orderings(SET, way="dpor")


def test_parts_that_are_explored_apart_say_together_what_the_whole_says() -> None:
    with ThreadPoolExecutor(2) as executor:
        for strategy in ("claim-under-lock", "none"):
            whole = explore(RACE, strategy=strategy, stop_at_first=False)
            parts = explore(RACE, strategy=strategy, stop_at_first=False, executor=executor)
            assert (parts.answer, parts.complete, set(parts.first_kinds)) == (
                whole.answer,
                True,
                set(whole.first_kinds),
            )
            assert parts.classes >= whole.classes
            assert {(one.kind, one.object) for one in parts.findings} == {
                (one.kind, one.object) for one in whole.findings
            }
        first = [explore(RACE, executor=executor) for _ in range(2)]
        with pytest.raises(InputError, match="needs search dpor"):
            explore(RACE, search="dfs", executor=executor)
    assert first[0].schedule == first[1].schedule
    assert (first[0].answer, first[0].complete) == ("Bug", False)


def test_a_verdict_shows_itself_in_a_notebook_without_loading_anything(bug: Verdict) -> None:
    assert repr(bug).startswith("<Verdict Bug ")
    html = bug._repr_html_()
    assert not re.search(r"""(src|href)=|url\(|<script|@import""", html)
    assert bug.bug is not None
    drawing = ET.fromstring(bug.bug.svg())  # noqa: S314 (drawn here)
    texts = [element.text or "" for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    for line in bug.bug.lines:
        assert any(line["text"] in text for text in texts)
    for column in bug.bug.columns:
        assert any(column["head"] in text for text in texts)
        assert all(any(call in text for text in texts) for call in column["calls"])
        assert column["calls"][-1] == "kvm_uninit_stage2_mmu"
    assert [column["calls"][0] for column in bug.bug.columns] == ["do_exit", "kvm_vm_release"]
    assert bug.bug.frame()["thread"].isin(["T1", "T2"]).all()
    copy = pickle.loads(pickle.dumps(bug))  # noqa: S301 (what was pickled here)
    assert copy == bug


def test_a_notebook_shows_a_line_of_progress_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, bool]] = []

    def display(data: dict[str, str], *, update: bool, **_: object) -> None:
        shown.append((data["text/plain"], update))

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("pyworkbench._live._in_notebook", lambda: True)
    monkeypatch.setattr("pyworkbench._live._AFTER_S", 0.0)
    verdict_matrix([RACE], variants=["arm64-7.3"], strategies=["none", "claim-under-lock"])
    assert shown == [("explored 1 of 2", False), ("explored 2 of 2", True), ("", True)]


def test_executions_to_the_first_harm_are_a_function_of_the_seeds() -> None:
    found, again = first_findings(3), first_findings(3)
    assert found.equals(again)
    assert set(found["search"]) == {"random", "pct", "surw", "dpor"}
    dpor = found[found["search"] == "dpor"]
    assert set(dpor["seeds"]) == {1}
    assert set(dpor["found"]) == {1.0}
    one = first_findings(1, searches=["dpor"], bugs={"race": (RACE, "arm64-7.3", "none")})
    bug = explore(RACE).bug
    assert bug is not None
    assert one["median"].tolist() == [bug.first_execution]


def test_seeds_that_see_no_harm_in_time_lower_the_share_and_are_later_than_all_others() -> None:
    found = first_findings(8, executions=1)
    missed = found[found["found"] < 0.5]
    assert len(missed) > 0
    assert missed["median"].isna().all()
    assert found[found["found"] == 1]["upper"].notna().all()


def test_a_search_for_first_findings_needs_seeds_and_known_names() -> None:
    with pytest.raises(InputError, match="seeds 0"):
        first_findings(0)
    with pytest.raises(InputError, match="nowhere"):
        first_findings(1, bugs={"none": ("flush-race", "nowhere", "none")})


def test_parts_tell_how_far_they_are_and_stop_with_what_is_known() -> None:
    told: list[tuple[int, int, float]] = []
    with ThreadPoolExecutor(2) as executor:
        whole = explore(RACE, strategy="claim-under-lock", executor=executor, progress=lambda *now: told.append(now))
        assert (whole.answer, told[-1][:2]) == ("Proved", (whole.executions, 0))
        assert all(before[0] <= after[0] for before, after in pairwise(told))
        stopped = explore("flush-race-nested", executor=executor, stop_at_first=False, progress=lambda *_: False)
        late = explore(RACE, strategy="claim-under-lock", executor=executor, time_s=0.0)
    assert not stopped.complete
    assert stopped.answer == "Bug" or (stopped.answer, stopped.why) == ("Exhausted", "stopped")
    assert (late.answer, late.why, late.executions) == ("Exhausted", "the bound on time", 0)
    assert late.bounds == "10000 actions an execution, 0 s"


def test_parts_in_other_processes_are_told_of_and_stop() -> None:
    told: list[int] = []

    def enough(executions: int, *_: float) -> bool:
        told.append(executions)
        return executions == 0

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        verdict = explore("objection-chunk-size", strategy="claim-under-lock", executor=executor, progress=enough)
    assert told[-1] > 0
    assert (verdict.answer, verdict.why) == ("Exhausted", "stopped")
    assert verdict.executions > 0


def test_a_matrix_that_is_stopped_says_so_in_every_row_that_it_left() -> None:
    with ThreadPoolExecutor(1) as executor:
        matrix = verdict_matrix([RACE], executor=executor, progress=lambda done, _: done < 2)
    assert matrix.attrs["stopped"]
    assert (matrix["what"] == "stopped").sum() == (matrix["verdict"] == "Exhausted").sum() > 0
    assert matrix["executions"][0] > 0
    assert not verdict_matrix([RACE], variants=["mips-7.3"]).attrs["stopped"]


def test_a_replay_says_what_changed(bug: Verdict) -> None:
    assert bug.schedule is not None
    assert bug.schedule.startswith("pwb2:")
    assert replay_schedule(bug.schedule).changes == ()
    other = replay_schedule(bug.schedule.replace(RACE, "flush-race-used-up"))
    assert any("written for another case" in one for one in other.changes)
    fixed = bug.schedule.replace("double-free", "leak")
    code, out, _ = pwb("explore", "--replay", fixed)
    assert (code, out.splitlines()[1]) == (
        10,
        "changed: it showed leak of kvm.arch.split_page_cache.objects then, and shows double-free of "
        "kvm.arch.split_page_cache.objects now",
    )
    runs = bug.schedule.rpartition(" double-free")[0].split(":")[-2]
    code, out, _ = pwb("explore", "--json", "--replay", bug.schedule.replace(runs, "0"))
    assert code == 1
    assert json.loads(out)["changes"][0].startswith("the actions are not those")
    misfit = bug.schedule.replace(f"{RACE} arm64-7.3 none", f"{RACE} arm64-7.3 lock-flush-naive")
    with pytest.raises(InputError, match="written for another case"):
        replay_schedule(misfit)


def test_a_ladder_tells_pointers_by_name_repeated_steps_once_and_inside_of_what(bug: Verdict) -> None:
    assert bug.ladder is not None
    assert "split_page_cache.objects is objects" in bug.ladder
    assert not re.search(r"objects is 0x", bug.ladder)
    assert "exit_mmap" in bug.ladder
    assert "kvm_vm_release" in bug.ladder
    stall = explore("stall", variant="riscv-7.3").ladder
    assert stall is not None
    assert "... 7 times more" in stall
    assert len(stall.splitlines()) < 20
    null = explore("flush-race-nested", variant="arm64-6.12").ladder
    assert null is not None
    assert "nested_mmus_null: kvm->arch.nested_mmus = NULL" in null


def test_counts_are_shown_wherever_a_verdict_is(bug: Verdict) -> None:
    counts = r"[\d,]+ executions, [\d,]+ actions, [\d,]+ equivalence classes"
    assert re.search(counts, str(bug))
    assert re.search(counts, repr(bug))
    assert re.search(counts, bug._repr_html_())
    looked = explore(RACE, strategy="claim-under-lock", search="random", executions=20)
    assert "20 whole executions" in str(looked)
    header = pwb("matrix", RACE, "--variant", "arm64-7.3", "--strategy", "none")[1]
    assert re.search(r"executions\s+actions\s+classes", header)
    orders = orderings(SET, prove=1)
    assert orders.loc[0, ["executions", "actions", "classes"]].gt(0).all()
