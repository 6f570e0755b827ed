"""What `run_notebook` promises about parameters, failures and files, on notebooks made for it."""

from pathlib import Path

import nbformat
import pytest

from pyworkbench import InputError
from pyworkbench.report import ReportError, parameter_of_text, run_notebook

PARAMETERS = 'threads = [1, 2]\nname = "a"\nshare = 0.5\n'


def notebook(folder: Path, *cells: str, parameters: str = PARAMETERS) -> Path:
    """Writes a notebook with a parameters cell and these cells."""
    head = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    made = nbformat.v4.new_notebook(cells=[head, *map(nbformat.v4.new_code_cell, cells)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "made.ipynb"
    nbformat.write(made, path)
    return path


LEAVES_A_TRACE = "from pathlib import Path; Path('ran').touch()"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"thread": [1]}, "no parameter thread: did you mean threads"),
        ({"zzz": 1}, "no parameter zzz: it has threads, name, share"),
        ({"threads": 2}, r"parameter threads is 2: a value like \[1, 2\]"),
        ({"threads": ["1"]}, "parameter threads is"),
        ({"threads": []}, "parameter threads is"),
        ({"name": 3}, "parameter name is 3"),
        ({"share": "half"}, "parameter share is 'half'"),
    ],
)
def test_a_parameter_that_does_not_fit_fails_before_anything_runs(
    tmp_path: Path, parameters: dict[str, object], message: str
) -> None:
    path = notebook(tmp_path, LEAVES_A_TRACE)
    with pytest.raises(InputError, match=message):
        run_notebook(path, parameters, tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["made.ipynb"]


def test_a_parameter_that_fits_replaces_the_default(tmp_path: Path) -> None:
    path = notebook(tmp_path, "print(f'{threads} {name} {share}')")
    run_notebook(path, {"threads": [8], "share": 1}, tmp_path / "report.html")
    assert "[8] a 1" in (tmp_path / "report.html").read_text()


def test_a_kernel_has_its_sockets_for_itself(tmp_path: Path) -> None:
    # Notebooks of one folder that run at the same time would take one another's.
    path = notebook(tmp_path, "import os", "print('beside:', os.listdir())")
    run_notebook(path, {}, tmp_path / "report.html")
    assert "beside: ['made.ipynb']" in (tmp_path / "report.html").read_text().replace("&#39;", "'")


def test_a_parameters_cell_with_anything_but_literals_is_an_error(tmp_path: Path) -> None:
    path = notebook(tmp_path, parameters="import os")
    with pytest.raises(InputError, match="'import os' in the parameters cell"):
        run_notebook(path, {}, tmp_path / "report.html")


def test_a_failing_cell_leaves_the_former_report_and_the_notebook_as_far_as_it_came(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("the former report")
    path = notebook(tmp_path, "print('so far')", "1 / 0", LEAVES_A_TRACE)
    with pytest.raises(ReportError, match=r"cell 3 failed with ZeroDivisionError: .*report\.failed\.ipynb"):
        run_notebook(path, {}, out)
    assert out.read_text() == "the former report"
    assert "so far" in (tmp_path / "report.failed.ipynb").read_text()
    assert not (tmp_path / "ran").exists()


def test_a_dead_kernel_is_an_error(tmp_path: Path) -> None:
    path = notebook(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", LEAVES_A_TRACE)
    with pytest.raises(ReportError, match="the kernel died"):
        run_notebook(path, {}, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_report_that_is_made_clears_away_what_a_failure_left(tmp_path: Path) -> None:
    (tmp_path / "report.failed.ipynb").touch()
    run_notebook(notebook(tmp_path), {}, tmp_path / "report.html")
    assert not (tmp_path / "report.failed.ipynb").exists()


def test_what_is_no_notebook_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.ipynb"
    path.write_text("no JSON")
    with pytest.raises(InputError, match=r"text\.ipynb is not a notebook"):
        run_notebook(path, {}, tmp_path / "report.html")


def test_a_parameter_without_a_value_is_named() -> None:
    with pytest.raises(InputError, match="parameter 'threads' has no value: threads=VALUE"):
        parameter_of_text("threads")
