"""Specs: what is wrong is named with its value, and the same spec comes from TOML, Python and options."""

from pathlib import Path
from typing import Any

import pytest

from pyworkbench import InputError
from pyworkbench.sweep import SweepSpec, fields_of_text, plan, read_spec, size_bytes, size_text, spec_of
from pyworkbench.sweep.presets import PRESETS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threads": []}, r"threads \[\]: it should have at least 1 item"),
        ({"threads": [0]}, "threads 0: it should be greater than or equal to 1"),
        ({"threads": 1000}, "threads 1000: it should be less than or equal to 128"),
        ({"threads": ["2"]}, "threads '2': it should be a valid integer"),
        ({"threads": True}, "threads True: it should be a valid integer"),
        ({"threads": [1, 1]}, r"threads \[1, 1\]: each value once"),
        ({"patern": ["disjoint"]}, "patern is no field of a sweep: did you mean pattern?"),
        ({"zzz": 1}, "zzz is no field of a sweep: kind, preset, threads"),
        ({"walk": "sharde"}, "walk 'sharde': it should be 'shared' or 'exclusive'; did you mean 'shared'?"),
        ({"lock": ["qrwlok"]}, "lock 'qrwlok': .*did you mean 'qrwlock'?"),
        ({"leaf": "3Q"}, "leaf '3Q': page, block or a size such as 2M"),
        ({"guest": 5}, "guest 5: it should be a valid string"),
        ({"guest": "0G"}, "guest '0G': a size such as 2M would be right"),
        ({"ops_per_thread": "pas"}, "ops_per_thread 'pas': it should be a valid integer or it should be 'pass'"),
        ({"rate_per_s": -1.0}, "rate_per_s -1.0: it should be greater than 0 or it should be 'closed'"),
        ({"breaks": "yes"}, "breaks 'yes': it should be a valid boolean"),
        ({"seed": -1}, "seed -1: it should be greater than or equal to 0"),
        ({"seed": [1, 2]}, r"seed \[1, 2\]: measurements are put into one order"),
        ({"repeats": 0}, "repeats 0: it should be"),
        ({"preset": "demand-paging"}, "preset 'demand-paging': .*did you mean 'demand_paging'?"),
        ({"executions": 3}, "executions is a field of kind 'explore', and this sweep is of kind 'measure'"),
        (
            {"kind": "explore", "threads": 1},
            "threads is a field of kind 'measure', and this sweep is of kind 'explore'",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec_of(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"leaf": ["page", "8K"]}, "leaf '8K' has a meaning in no combination: .*8192"),
        ({"ipa_bits": [40, 60]}, "ipa_bits 60 has a meaning in no combination: .*60"),
        ({"kind": "explore", "scenario": "flush-rac"}, "flush-rac"),
        ({"kind": "explore", "variant": "mips-7.3"}, "no combination has a meaning: mips-7.3 has no split cache"),
    ],
)
def test_a_value_that_no_combination_can_have_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(spec_of(fields))


def test_a_value_and_a_list_of_one_are_the_same() -> None:
    assert spec_of({"threads": 2, "guest": "64M"}) == spec_of({"threads": [2], "guest": ["64M"]})


def test_options_and_toml_give_the_same_spec(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text('threads = [1, 2]\nbreaks = [true, false]\nrate_per_s = 2.5\nops_per_thread = "pass"\nseed = 7\n')
    options = {
        "threads": ["1", "2"],
        "breaks": ["true", "false"],
        "rate_per_s": ["2.5"],
        "ops_per_thread": ["pass"],
        "seed": ["7"],
    }
    assert read_spec(file) == spec_of(fields_of_text(options))
    assert read_spec(file, {"threads": ["4"]}).threads == [4]


def test_what_is_wrong_in_a_file_is_said_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text("threads = [1, 2]\nwalk = shared\n")
    with pytest.raises(InputError, match=r"spec\.toml: no TOML: .*line 2"):
        read_spec(file)
    file.write_text("thread = 1\n")
    with pytest.raises(InputError, match=r"spec\.toml: thread is no field of a sweep: did you mean threads"):
        read_spec(file)


def test_options_may_be_of_the_kind_that_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text('kind = "explore"\n')
    assert read_spec(file, {"executions": "10"}).executions == 10


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_sweep_and_given_fields_go_before_it(preset: Any) -> None:
    spec = spec_of({"preset": preset, "guest": "2M", "repeats": 1})
    assert spec.guest == ["2M"]
    assert all(getattr(spec, name) == value for name, value in PRESETS[preset].items() if name != "guest")
    assert plan(spec).points


def test_sizes_have_units() -> None:
    assert [size_text(size_bytes(text)) for text in ("4K", "2M", "1G", "3T", "1025")] == [
        "4K",
        "2M",
        "1G",
        "3T",
        "1025",
    ]
    for text in ("", "K", "4k", "-4K", "0M", "1.5G", "4KB"):
        with pytest.raises(InputError, match="size"):
            size_bytes(text)


def test_the_schema_says_what_each_field_takes() -> None:
    properties = SweepSpec.model_json_schema()["properties"]
    assert all("description" in field for field in properties.values())
    assert properties["threads"]["items"]["maximum"] == 128
    assert properties["walk"]["items"]["enum"] == ["shared", "exclusive"]
