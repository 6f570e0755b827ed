"""Browser fixtures: Debian's chromium, one report, one JupyterLab, each started once.

Tests of this folder run in one worker (`xdist_group`), one after another.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path: apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(20_000)
    yield page
    page.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's report, made with small parameters by the command that users give."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    small = ["-p", "threads=[1,2,64]", "-p", "guest_mib=8", "-p", "step=2M", "-p", "repeats=2"]
    command = [sys.executable, "-m", "pyworkbench", "report", "notebooks/quickstart.ipynb", "-o", str(out), *small]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return out


@pytest.fixture(scope="session")
def store_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a store, by the commands that users give."""
    folder = tmp_path_factory.mktemp("store_report")
    small = ["--threads", "1,2,3,64", "--guest", "2M,4M", "--step", "whole,1M", "--ipa-bits", "32", "--repeats", "2"]
    for command in (["sweep", "--out", str(folder / "store"), *small], ["report", str(folder / "store"), "-o"]):
        out = [str(folder / "report.html")] if command[0] == "report" else []
        subprocess.run([sys.executable, "-m", "pyworkbench", *command, *out], cwd=ROOT, check=True, capture_output=True)
    return folder / "report.html"


@pytest.fixture(params=["report", "store_report"])
def any_report(request: pytest.FixtureRequest) -> Path:
    """A notebook's report, and a store's."""
    found: Path = request.getfixturevalue(request.param)
    return found


class Lab:
    """A JupyterLab page in which notebooks of a folder are opened, run and closed."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        self.folder = folder

    def open(self, path: str) -> None:
        """Opens a notebook and waits until it can be run; the page's own idle mark comes too early."""
        self.page.evaluate("path => { jupyterapp.commands.execute('docmanager:open', { path }) }", path)
        self.page.wait_for_function(
            """path => {
                const widget = jupyterapp.shell.currentWidget;
                const session = widget?.sessionContext;
                const kernel = session?.session?.kernel;
                return widget?.context?.path === path && session.isReady
                    && kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
            }""",
            arg=path,
            timeout=60_000,
        )

    def run_all(self) -> None:
        """Runs all cells of the open notebook, to the end."""
        self.page.evaluate("async () => { await jupyterapp.commands.execute('notebook:run-all-cells'); return null }")


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on copies of the notebooks, with settings and state of its own, quiet and without pop-ups."""
    folder = tmp_path_factory.mktemp("lab")
    # Beside the notebooks lie the sockets of kernels that other tests run, and they come and go.
    (folder / "notebooks").mkdir()
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, folder / "notebooks")
    (folder / "data").symlink_to(ROOT / "data")
    overrides = folder / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    overrides.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": quiet}))
    own = {
        name: str(folder / name.lower())
        for name in (
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
        )
    }
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
        *("--ServerApp.disable_check_xsrf=True", "--LabApp.expose_app_in_browser=True"),
        *("--LabApp.extension_manager=readonly", "--ServerApp.terminals_enabled=False"),
        f"--ServerApp.root_dir={folder}",
    ]
    environment = os.environ | own | {"JUPYTER_CONFIG_DIR": str(folder / "config")}
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/api/status", server, folder / "lab.log")
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(30_000)
        page.goto(f"{url}/lab?reset")
        page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60_000)
        yield Lab(page, folder)
        page.close()
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the server answers; its end before that is an error, with what it logged."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"JupyterLab does not answer at {url}:\n{log.read_text()}")
