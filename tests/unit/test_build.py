"""The import tells a core that does not fit its sources, or is slow."""

import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest

import pyworkbench
from pyworkbench import _build, _core

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core_rs"


@pytest.fixture
def edited_sources(tmp_path: Path) -> Path:
    """A copy of the core's sources with one line more."""
    copy = tmp_path / "core_rs"
    shutil.copytree(CORE, copy, ignore=shutil.ignore_patterns("target", "fuzz"))
    with (copy / "stage2" / "src" / "lib.rs").open("a") as lib:
        lib.write("// edited\n")
    return copy


def test_a_fresh_core_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _build.check_this_installation()


def test_a_stale_core_warns_and_names_both_builds(edited_sources: Path) -> None:
    with pytest.warns(pyworkbench.StaleExtensionWarning) as caught:
        _build.check(edited_sources, _core.build_id(), "release")
    message = str(caught[0].message)
    assert _core.build_id() in message
    assert _core.source_id(edited_sources) in message
    assert _core.build_id() != _core.source_id(edited_sources)


def test_a_debug_core_warns() -> None:
    with pytest.warns(pyworkbench.DebugExtensionWarning, match=f"{_core.build_id()} is a debug build"):
        _build.check(CORE, _core.build_id(), "debug")


def test_the_identity_does_not_depend_on_where_the_sources_lie(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(CORE, copy, ignore=shutil.ignore_patterns("target", "fuzz"))
    assert _core.source_id(copy) == _core.source_id(CORE)


def test_a_test_of_the_core_is_no_part_of_its_identity(tmp_path: Path) -> None:
    copy = tmp_path / "core_rs"
    shutil.copytree(CORE, copy, ignore=shutil.ignore_patterns("target", "fuzz"))
    (copy / "stage2" / "tests").mkdir(exist_ok=True)
    (copy / "stage2" / "tests" / "more.rs").write_text("// a test\n")
    assert _core.source_id(copy) == _core.source_id(CORE)


def test_sources_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(pyworkbench.InputError, match="nowhere"):
        _core.source_id(tmp_path / "nowhere")


def test_the_wheel_works_where_there_are_no_sources(tmp_path: Path) -> None:
    # Cargo has built everything already: this packs the library that is there.
    subprocess.run(
        [sys.executable, "-m", "maturin", "build", "--release", "--quiet", "--out", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={**os.environ, "CARGO_TARGET_DIR": str(CORE / "target")},
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert {"pyworkbench/py.typed", "pyworkbench/_core.pyi", "pyworkbench/_core.abi3.so"} <= names
    assert not [name for name in names if name.startswith(("core_rs", "tests", "data"))]
    program = (
        "import pyworkbench; table = pyworkbench.Stage2(); table.map(0, 4096, 4096); "
        "print(pyworkbench.__file__, table.lookup(0).pa)"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
    )
    assert answer.stdout.split() == [str(tmp_path / "installed" / "pyworkbench" / "__init__.py"), "4096"]
