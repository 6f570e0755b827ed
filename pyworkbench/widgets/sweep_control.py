"""The widget `SweepControl`: a sweep is set up, started, watched, cancelled and resumed, and never blocks the kernel.

The sweep is a process of its own (`pyworkbench.sweep.background`). The widget knows it by the store's folder alone, so
that a control in another kernel, or in a notebook that was closed and opened again, finds it running. While one runs, a
thread looks at the store about twice a second; it sets traits and prints nothing, so that what it says appears in the
widget, whatever cell runs meanwhile.
"""

from __future__ import annotations

import json
import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets

from pyworkbench.errors import InputError, WorkbenchError
from pyworkbench.sweep import SweepSpec, sweep
from pyworkbench.sweep.background import cancel, last_spec, look, resume, start, what_it_said
from pyworkbench.sweep.estimate import Estimate, estimate
from pyworkbench.sweep.result import result_of
from pyworkbench.sweep.store import is_locked, read_manifest
from pyworkbench.widgets.live_plot import live_svg
from pyworkbench.widgets.live_rows import LiveRows
from pyworkbench.widgets.sweep_form import SweepForm

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from pyworkbench.sweep import Status, SweepResult

CSS = (Path(__file__).parent / "sweep_control.css").read_text()
LOOK_S = 0.4
"""How long the thread rests between two looks."""
FIRST = ("threads", "lock", "walk", "guest", "pattern", "repeats")
RUNNING = {"starting", "planning", "waiting", "running"}
UNDONE = {"interrupted", "killed", "failed"}
_STYLES = {"done": "success", "failed": "danger", "killed": "danger", "interrupted": "warning"}


class SweepControl(ipywidgets.VBox):
    """Sets up a sweep, runs it in the background, and shows how far it is.

    Args:
        directory: the store. Where a sweep is running into it already, that one is shown.
        spec: what to sweep at first; the controls change it.
        first: the fields that are in view.
        figure: the column of the live plot.
        against: the column of the configuration that it is plotted against.

    Example:
        >>> control = SweepControl(getfixture("tmp_path") / "store", SweepSpec(threads=[1, 2], guest="2M", repeats=2))
        >>> control.planned.measurements
        8
        >>> control.start()
        >>> control.wait()
        'done'
    """

    def __init__(
        self,
        directory: Path | str,
        spec: SweepSpec | None = None,
        first: Sequence[str] = FIRST,
        *,
        figure: str = "ops_per_s",
        against: str = "threads",
    ) -> None:
        self._closed = threading.Event()
        self.directory = Path(directory)
        spec = spec or SweepSpec()
        if is_locked(self.directory) and (self.directory / "manifest.json").exists():
            spec = last_spec(self.directory)
        if spec.kind != "measure":
            raise InputError(f"a control is for measurements, and this sweep is of kind {spec.kind!r}")
        self.form = SweepForm(spec, first)
        self.planned: Estimate | None = None
        self._figure, self._against = figure, against
        self._rows = LiveRows(self.directory, figure)
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._looking = threading.Lock()
        self._handing_over = threading.Lock()
        self._about = ipywidgets.HTML()
        self.problem = ipywidgets.HTML()
        self.bar = ipywidgets.FloatProgress(min=0, max=1, layout={"width": "99%", "height": "10px"})
        self.status = ipywidgets.HTML()
        self.plot = ipywidgets.HTML()
        self.buttons = {
            "start": _button("start", "play", "Measures what is missing, in the background", self.start),
            "cancel": _button("cancel", "stop", "Ends it; what was measured is kept", self.cancel),
            "resume": _button("resume", "forward", "Goes on with what was last asked of this store", self.resume),
        }
        where = ipywidgets.HTML(
            f"<style>{CSS}</style><span class='pwb-hint'>store</span> <code>{escape(str(directory))}</code>"
        )
        buttons = ipywidgets.HBox([*self.buttons.values(), where])
        super().__init__([self.form, self._about, self.problem, buttons, self.bar, self.status, self.plot])
        self.add_class("pwb-sweep")
        self.form.on_change(self._plan_anew)
        self._plan()
        if self._look() in RUNNING:
            self._watch()

    def start(self) -> None:
        """Starts what the controls say, in the background; a problem is shown, not raised."""
        self._begin(lambda: start(self.form.spec(), self.directory))

    def resume(self) -> None:
        """Goes on with what was last asked of the store."""
        self._begin(lambda: resume(self.directory))

    def cancel(self) -> None:
        """Ends the sweep that runs; the status says so a moment later."""
        cancel(self.directory)

    def wait(self, timeout_s: float | None = None) -> str:
        """Waits until the sweep is over, and answers its state; for scripts and tests, as it blocks."""
        if watcher := self._watcher:
            watcher.join(timeout_s)
        return self._look()

    def run_unattended(self) -> None:
        """Measures what is missing here and now, where nobody can press start: under papermill or `pwb report`."""
        if not attended():
            sweep(self.form.spec(), self.directory)
            self._plan()
            self._look()

    def result(self) -> SweepResult:
        """What the store has of the sweep that the controls say, so far.

        Raises:
            InputError: there is nothing yet.
        """
        spec = self.form.spec()
        self._plan()
        found, planned = look(self.directory), self.planned
        if found is None or planned is None or planned.planned is None or planned.missing == planned.measurements:
            raise InputError("nothing of this sweep is measured yet: press start above, then run this cell again")
        facts = read_manifest(self.directory)["sessions"][-1]["environment"]
        return result_of(spec, facts, found, planned.planned.keys, self.directory, None)

    def close(self) -> None:
        """Takes the widget away; the sweep goes on."""
        self._closed.set()
        super().close()

    @property
    def twin(self) -> str:
        """The spec, the plan, the status and the plot, as HTML that needs neither a kernel nor a script."""
        try:
            given = self.form.spec().model_dump(mode="json", exclude_unset=True)
        except InputError:
            given = {}
        rows = "".join(f"<tr><th>{name}</th><td>{escape(_shown(value))}</td></tr>" for name, value in given.items())
        return (
            f'<style>{CSS}</style><div class="pwb-sweep pwb-twin"><table>{rows}</table>{self._about.value}'
            f"{self.problem.value}{self.status.value}{self.plot.value}"
            '<p class="pwb-hint">The picture of a control: in JupyterLab it can be set and started.</p></div>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any] | None:
        data: dict[str, Any] | None = super()._repr_mimebundle_(**kwargs)
        return data and {**data, "text/html": self.twin}

    def _begin(self, process: Any) -> None:
        self.problem.value = ""
        try:
            self._process = process()
        except WorkbenchError as error:
            self._show_problem(str(error))
            return
        self._show_state("starting", None)
        self._watch()

    def _watch(self) -> None:
        with self._handing_over:
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watching, daemon=True, name="SweepControl")
                self._watcher.start()

    def _watching(self) -> None:
        """Looks until the sweep is over. Only traits are set here: a thread's prints land anywhere."""
        try:
            while not self._closed.is_set():
                if self._look() in RUNNING:
                    self._closed.wait(LOOK_S)
                    continue
                self._plan()
                with self._handing_over:
                    # What was begun since the look has counted on this thread.
                    if self._process is None:
                        self._watcher = None
                        return
        except Exception as error:  # nobody else would hear of it
            self._watcher = None
            self._show_problem(f"the display stopped: {type(error).__name__}: {error}; the sweep itself goes on")

    def _look(self) -> str:
        """Shows how far it is, and answers the state."""
        with self._looking:
            try:
                found = look(self.directory)
            except WorkbenchError as error:  # of another version, or damaged
                self._show_problem(str(error))
                if self._process is not None and self._process.poll() is None:
                    return "starting"
                self._process = None
                return ""
            state = found.state if found else ""
            process = self._process
            if process is not None:
                code = process.poll()
                if code is None and (found is None or found.pid != process.pid):
                    state = "starting"  # what the file says is of the sweep before
                elif code is not None:
                    self._process = None
                    if code not in {0, 130} and (found is None or found.state != "failed"):
                        self._show_problem(what_it_said(self.directory) or f"the sweep ended with exit code {code}")
            self._show_state(state, found)
            if self._rows.grew() or not self.plot.value:
                self._draw()
            return state

    def _show_state(self, state: str, found: Status | None) -> None:
        runs = state in RUNNING
        for name, enabled in {
            "start": not runs and self._can_start,
            "cancel": runs and state != "starting",
            "resume": state in UNDONE,
        }.items():
            self.buttons[name].disabled = not enabled
        self.form.enable(enabled=not runs)
        if found is None or state == "starting":
            self.status.value = f'<div class="pwb-status">{state or "nothing has been measured yet"}</div>'
            return
        done = found.reused + found.measured if found.running else found.done
        self.bar.value = done / found.planned if found.planned else 0
        self.bar.bar_style = "danger" if found.failed or found.crashed else _STYLES.get(state, "info")
        wrong = f"<div>last error: {escape(found.last_error)}</div>" if found.last_error else ""
        self.status.value = f'<div class="pwb-status" data-state="{state}">{escape(str(found))}{wrong}</div>'

    @property
    def _can_start(self) -> bool:
        return self.planned is not None and self.planned.missing > 0

    def _plan_anew(self) -> None:
        self.problem.value = ""
        self._plan()

    def _plan(self) -> None:
        """Says what the sweep will be; a wrong value is answered in place."""
        try:
            self.planned = estimate(self.form.spec(), self.directory)
        except WorkbenchError as error:
            self.planned = None
            self._show_problem(str(error))
        else:
            self._about.value = f'<div class="pwb-plan">{escape(str(self.planned))}</div>'
            self._draw()
        state = self.buttons["cancel"].disabled
        self.buttons["start"].disabled = not (state and self._can_start)

    def _draw(self) -> None:
        planned = self.planned.planned if self.planned else None
        rows = self._rows.frame(planned.keys if planned else None)
        points = map(json.loads, planned.points if planned else ())
        values = {point[self._against] for point in points} - {None}
        self.plot.value = live_svg(rows, self._against, self._figure, sorted(values))

    def _show_problem(self, text: str) -> None:
        self.problem.value = f'<div class="pwb-problem">{escape(text)}</div>'


def attended() -> bool:
    """Whether somebody at a front end may press a button: not in a script, and not under papermill or `pwb report`."""
    from IPython import get_ipython  # noqa: PLC0415 (where there are widgets, it is there)

    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    # A front end says with each cell whether it can ask its user; who runs notebooks in batch says that it cannot.
    return bool(kernel.get_parent().get("content", {}).get("allow_stdin", False))


def _button(name: str, icon: str, tooltip: str, call: Any) -> ipywidgets.Button:
    button = ipywidgets.Button(description=name, icon=icon, tooltip=tooltip, disabled=True, layout={"width": "96px"})
    button.on_click(lambda _button: call())
    return button


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
