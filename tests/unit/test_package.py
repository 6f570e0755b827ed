"""The package as it is imported and typed."""

import doctest
import subprocess
import sys
from pathlib import Path

import pyworkbench

SLOW_MODULES = ["pandas", "pyarrow", "matplotlib", "altair", "nbformat", "pydantic", "typer"]


def python(program: str, cwd: Path) -> str:
    """What `program` prints in a fresh interpreter."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=cwd, check=True, capture_output=True, text=True
    )
    return run.stdout.strip()


def test_the_package_imports_from_any_directory(tmp_path: Path) -> None:
    assert python("import pyworkbench; print(pyworkbench.__file__)", tmp_path) == pyworkbench.__file__


def test_an_import_does_not_load_what_is_slow(tmp_path: Path) -> None:
    program = f"import pyworkbench, sys; print([m for m in {SLOW_MODULES} if m in sys.modules])"
    assert python(program, tmp_path) == "[]"


def test_every_public_name_has_a_docstring() -> None:
    names = [name for name in pyworkbench.__all__ if not getattr(pyworkbench, name).__doc__]
    members = {name: member for name, member in vars(pyworkbench.Stage2).items() if name[0] != "_"}
    assert (names, [name for name, member in members.items() if not member.__doc__]) == ([], [])


def test_what_the_readme_shows_is_so() -> None:
    readme = Path(__file__).parents[2] / "README.md"
    failed, tried = doctest.testfile(str(readme), module_relative=False, encoding="utf-8")
    assert (failed, tried > 5) == (0, True)
