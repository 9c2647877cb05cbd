"""A real JupyterLab and a headless Chromium, for the tests that look at notebooks as a reader does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from mmcook.chapters import NOTEBOOKS

STEADY = 60_000  # ms until an opened notebook must look right
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # else cells out of view may not be drawn
}
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync", "--no-first-run"]


@dataclass
class Lab:
    """A running JupyterLab and a browser."""

    url: str
    token: str
    root: Path
    browser: object


@contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    """JupyterLab over a copy of the notebooks, and Chromium beside it."""
    root = folder / "repository"
    shutil.copytree(NOTEBOOKS, root / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    with sync_playwright() as playwright, jupyterlab(folder, root) as (url, token):
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=QUIET)
        yield Lab(url, token, root, browser)
        browser.close()


def chromium(playwright) -> str:
    """The browser's program: the system's, or else the one that playwright installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), playwright.chromium.executable_path)
    if not Path(found).exists():
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop("no Chromium: apt-get install chromium, or python -m playwright install chromium")
    return found


@contextmanager
def jupyterlab(folder: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Run a JupyterLab with a configuration of its own; gives its address and token."""
    overrides = folder / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps(SETTINGS))
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "MMCOOK_REC"))}
    port, token = free_port(), uuid.uuid4().hex
    options = [f"--ServerApp.root_dir={root}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += [f"--IdentityProvider.token={token}", "--no-browser", "--allow-root"]
    options += ["--LabApp.expose_app_in_browser=True"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(command, env=environment | own, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for_port(port, server, folder / "server.log")
            yield f"http://127.0.0.1:{port}", token
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:  # a busy machine is slow to end the kernels
                server.kill()
                server.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port: int, server: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    """Return as soon as the server listens; fail with its log if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-2000:]}")


@contextmanager
def opened(lab: Lab, path: Path):
    """A page with a notebook; nothing beyond this machine can be reached, and its kernel ends with it."""
    context = lab.browser.new_context(viewport={"width": 1280, "height": 900})
    context.route(lambda url: not url.startswith((lab.url, "data:", "blob:")), lambda route: route.abort())
    page = context.new_page()
    place = path.relative_to(lab.root).as_posix()
    page.goto(f"{lab.url}/lab/workspaces/{uuid.uuid4().hex}/tree/{place}?reset&token={lab.token}")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=STEADY)
    yield page
    page.evaluate("() => jupyterapp.serviceManager.sessions.shutdownAll()")
    context.close()
