"""The sweep's form and control, without a front end."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyworkbench.errors import InputError
from pyworkbench.sweep import SweepSpec, read_status, spec_of, sweep
from pyworkbench.sweep.background import cancel, start
from pyworkbench.widgets import SweepControl, SweepForm, attended

QUICK: dict[str, Any] = {"threads": [1, 2], "guest": ["2M"], "repeats": 2, "warmup": 0}
FOREVER: dict[str, Any] = {"threads": [1], "walk": "shared", "guest": ["512G"], "warmup": 0}


@pytest.fixture
def control(tmp_path: Path) -> Iterator[SweepControl]:
    control = SweepControl(tmp_path / "store", spec_of(QUICK))
    yield control
    control.cancel()
    control.close()


def test_every_field_of_a_measurement_has_a_control_of_its_kind() -> None:
    form = SweepForm(SweepSpec(), ["threads"])
    missing = set(SweepSpec.model_fields) - set(form.fields) - {"kind", "preset"}
    assert missing == {"scenario", "search", "executions", "time_s", "preemptions"}
    assert [button.description for button in form.fields["walk"].children] == ["shared", "exclusive"]
    assert [button.description for button in form.fields["breaks"].children] == ["false", "true"]
    assert form.fields["threads"].value == "1, 2, 4"


def test_the_range_of_a_field_stands_beside_it() -> None:
    form = SweepForm(SweepSpec(), ["threads", "ops_per_thread", "timeout_s"])
    hints = [row.children[2].value for row in form.children[:3]]
    assert "1 to 128" in hints[0]
    assert "or pass" in hints[1]
    assert "more than 0" in hints[2]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("threads", "1, 129", "threads '129'"),
        ("threads", "", "threads has no value"),
        ("guest", "1X", "guest '1X'"),
        ("repeats", "2, 3", "repeats '2, 3'"),
    ],
)
def test_what_is_typed_wrong_is_answered_in_place_and_nothing_can_start(
    control: SweepControl, name: str, value: str, message: str
) -> None:
    control.form.fields[name].value = value
    assert message in control.problem.value.replace("&#x27;", "'")
    assert control.buttons["start"].disabled
    control.form.fill(spec_of(QUICK))
    assert control.problem.value == ""
    assert not control.buttons["start"].disabled


def test_a_form_gives_back_the_spec_it_was_made_of() -> None:
    for fields in (QUICK, {"preset": "dirty_log_perf", "guest": ["256M"]}, {"breaks": [True], "rate_per_s": [10.0]}):
        spec = spec_of(fields)
        assert SweepForm(spec, ["threads"]).spec().model_dump(exclude={"preset"}) == spec.model_dump(exclude={"preset"})


def test_a_sweep_is_started_watched_and_shown(control: SweepControl) -> None:
    assert control.planned is not None
    assert control.planned.measurements == 8
    with pytest.raises(InputError, match="press start"):
        control.result()
    control.start()
    assert control.wait() == "done"
    assert "done: 8 of 8 measurements" in control.status.value
    assert control.bar.value == 1
    assert len(re.findall("<circle", control.plot.value)) > 8
    assert control.buttons["start"].disabled
    assert len(control.result().rows) == 8


def test_a_result_has_the_rows_of_the_controls_spec_only(control: SweepControl) -> None:
    sweep(out=control.directory, **QUICK | {"guest": ["4M"]})
    sweep(out=control.directory, **QUICK)
    assert set(control.result().rows["guest_bytes"]) == {2 << 20}


def test_another_control_finds_the_sweep_that_runs_and_cancels_it(tmp_path: Path) -> None:
    process = start(spec_of(FOREVER), tmp_path)
    first = SweepControl(tmp_path, spec_of(QUICK))
    while read_or_none(tmp_path) != "running":
        assert process.poll() is None
    found = SweepControl(tmp_path, spec_of(QUICK))
    assert found.form.fields["guest"].value == "512G"
    assert found.form.fields["guest"].disabled
    assert not found.buttons["cancel"].disabled
    assert "running" in found.status.value
    found.start()
    assert "in use by a sweep" in found.problem.value
    found.cancel()
    assert found.wait() == "interrupted"
    assert not found.buttons["resume"].disabled
    assert process.wait(60) == 130
    first.close()
    found.close()


def read_or_none(directory: Path) -> str | None:
    return read_status(directory).state if (directory / "manifest.json").exists() else None


def test_a_sweep_that_does_not_begin_says_why(tmp_path: Path) -> None:
    control = SweepControl(tmp_path, spec_of(QUICK))
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    control.start()
    control.wait()
    assert "format 99" in control.problem.value
    assert not cancel(tmp_path)


def test_without_a_front_end_nobody_can_press_start_so_it_is_measured_at_once(control: SweepControl) -> None:
    assert not attended()
    control.run_unattended()
    assert "done: 8 of 8" in control.twin
    assert 'data-state="done"' in control.twin
    assert "<script" not in control.twin


def test_explorations_have_no_control(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kind 'explore'"):
        SweepControl(tmp_path, spec_of({"kind": "explore"}))
