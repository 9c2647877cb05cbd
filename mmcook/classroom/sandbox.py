"""A kernel for a student's notebook: a sandbox around it, limits on all that it may use, a sober reading of it."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import math
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmcook.classroom.evidence import EVIDENCE_TYPE
from mmcook.course import REPOSITORY

UNPRIVILEGED = itertools.cycle(range(61_184, 61_696))  # user ids that nobody has: limits on processes count by user
CALM = 0.25  # seconds between two looks at a kernel
ENVIRONMENT = {
    "HOME": "/scratch",
    "TMPDIR": "/scratch",
    "LANG": "C.UTF-8",
    "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class SandboxError(ValueError):
    """This system cannot make the sandbox."""


@dataclass(frozen=True)
class Limits:
    """What a student's notebook may use."""

    cell: float = 15.0  # seconds of processor time, so that a busy machine costs nobody marks
    clock: float = 60.0  # seconds a cell by the clock
    notebook: float = 300.0  # seconds by the clock
    start: float = 60.0  # seconds until a kernel must answer
    memory: int = 3 * 2**30  # bytes, all processes together
    threads: int = 128
    processes: int = 24
    output: int = 100_000  # characters a cell
    message: int = 32 * 2**20  # bytes, the largest message that is taken from a kernel
    file: int = 20 * 2**20  # bytes
    scratch: int = 64 * 2**20  # bytes


@dataclass
class Ran:
    """What running a cell gave."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[Any] = field(default_factory=list)
    size: int = 0  # characters in the outputs
    trouble: str | None = None  # in words that follow "its cell"


def command(private: Path, limits: Limits, user: int | None) -> list[str]:
    """The command line of a kernel in a sandbox, as a kernel specification holds it.

    Args:
        private: the folder that kernel and grader share for their sockets.
        limits: what the kernel may use.
        user: the id to run under if the grader is root; None inside a user namespace of its own.
    """
    capabilities = [part for name in ("SETUID", "SETGID", "SETPCAP") for part in ("--cap-add", f"CAP_{name}")]
    apart = ["--unshare-user"] if user is None else capabilities  # root drops all of them before student code runs
    apart += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    apart += ["--die-with-parent", "--new-session", "--clearenv"]
    settings = [part for name, value in ENVIRONMENT.items() for part in ("--setenv", name, value)]
    places = [
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--perms",
        "1777",
        "--size",
        str(limits.scratch),
        "--tmpfs",
        "/scratch",
    ]
    readable = [Path(sys.prefix), Path(sys.base_prefix), REPOSITORY / "mmcook", REPOSITORY / "data"]
    parents = sorted({parent for path in (*readable, private) for parent in list(path.parents)[:-1]})
    places += [part for parent in parents for part in ("--perms", "0755", "--dir", str(parent))]
    places += [part for path in readable for part in ("--ro-bind", str(path), str(path))]
    places += ["--bind", str(private), str(private), "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/scratch"]
    drop = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    drop += [] if user is None else ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
    caps = [f"--data={limits.memory}", f"--fsize={limits.file}", f"--nproc={limits.threads}", "--core=0"]
    caps += [f"--cpu={int(limits.notebook)}", "--"]
    return ["bwrap", *apart, *settings, *_system(), *places, "--", *drop, "prlimit", *caps, *bare()]


def bare() -> list[str]:
    """The command line of a kernel without any sandbox."""
    return [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]


def _system() -> list[str]:
    """The system's programs and libraries, read-only."""
    found = ["--ro-bind", "/usr", "/usr"]
    for place in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if place.is_symlink():
            found += ["--symlink", os.readlink(place), str(place)]
        elif place.exists():
            found += ["--ro-bind", str(place), str(place)]
    for place in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime"):
        found += ["--ro-bind-try", place, place]
    return found


def demand_sandbox() -> None:
    """Make a sandbox and a program run in it.

    Raises: SandboxError with the reason and the mend when that fails.
    """
    missing = [name for name in ("bwrap", "prlimit", "setpriv") if shutil.which(name) is None]
    if missing:
        raise SandboxError(
            f"no sandbox: {', '.join(missing)} not found; on Debian or Ubuntu: apt install bubblewrap util-linux."
            " --without-sandbox grades all the same, with students' code running under your rights"
        )
    with private_folder() as (private, user):
        line = command(private, Limits(), user)
        probe = [*line[: line.index(bare()[0], line.index("prlimit"))], "/usr/bin/env", "true"]
        done = subprocess.run(probe, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    if done.returncode:
        raise SandboxError(
            f"no sandbox: bubblewrap failed with {done.stderr.strip()[:300]!r}; the system may forbid namespaces, as"
            " many containers do: grade on another machine, or allow unprivileged user namespaces."
            " --without-sandbox grades all the same, with students' code running under your rights"
        )


@contextlib.contextmanager
def private_folder() -> Any:
    """A folder for a kernel's sockets, and the user that it belongs to if we are root."""
    user = next(UNPRIVILEGED) if hasattr(os, "geteuid") and os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="mmk", ignore_cleanup_errors=True) as folder:
        if user is not None:
            os.chown(folder, user, user)
        yield Path(folder).resolve(), user


class Kernel:
    """A running kernel. Use it in a ``with`` statement.

    Args:
        limits: what it may use.
        sandboxed: whether it runs in a sandbox.
    """

    def __init__(self, limits: Limits, *, sandboxed: bool) -> None:
        """Start it and wait until it answers.

        Raises: RuntimeError when it does not.
        """
        import zmq
        from jupyter_client import KernelManager
        from jupyter_client.kernelspec import KernelSpecManager

        self.limits, self._closing = limits, contextlib.ExitStack()
        private, user = self._closing.enter_context(private_folder())
        line = command(private, limits, user) if sandboxed else bare()
        spec = {"argv": line, "display_name": "student", "language": "python", "interrupt_mode": "message"}
        (private / "specs" / "student").mkdir(parents=True)
        (private / "specs" / "student" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        self._manager = KernelManager(
            kernel_name="student",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(private / "specs")]),
            connection_file=str(private / "connection.json"),
            **({"transport": "ipc", "ip": str(private / "k")} if sandboxed else {}),
        )
        self._manager.write_connection_file()
        if sandboxed and user is not None:
            os.chown(private / "connection.json", user, user)
        self._private = private
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
        self._manager.start_kernel(env=environment, cwd=private, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._closing.callback(self._manager.shutdown_kernel, now=True)
        self._client = self._manager.client()
        self._client.context.setsockopt(zmq.MAXMSGSIZE, limits.message)  # of the sockets that are opened now
        self._client.start_channels()
        self._closing.callback(self._client.stop_channels)
        self.alive = True
        try:
            self._client.wait_for_ready(timeout=limits.start)
            self._listen()
        except RuntimeError:
            self.close()
            raise

    def __enter__(self) -> Kernel:
        """The kernel, which answers."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the kernel and all that it started."""
        self.close()

    def close(self) -> None:
        """End the kernel and all that it started."""
        self.alive = False
        self._closing.close()

    def run(self, source: str) -> Ran:
        """Run a cell, and give up on it at a limit.

        An endless loop is interrupted. A kernel that does not heed that, dies or takes too much memory is not alive
        afterwards.
        """
        ran, clock = Ran(), _Clock(self.limits.clock, self._worked() + self.limits.cell)
        request = self._client.execute(source, store_history=False, allow_stdin=False, stop_on_error=False)
        while self.alive:
            message = self._message(request)
            if message is not None and message["msg_type"] == "status":
                if message["content"]["execution_state"] == "idle":
                    break
            elif message is not None:
                take(ran, message, self.limits.output)
            if clock.look():
                self._inspect(ran, clock, request)
        return ran

    def _listen(self) -> None:
        """Wait until outputs arrive: those of the first moments are lost.

        Raises: RuntimeError when none do.
        """
        clock = _Clock(self.limits.start)
        while not clock.late():
            request, patience = self._client.kernel_info(), _Clock(1)
            while not patience.late():
                if self._message(request) is not None:
                    return
        raise RuntimeError("the kernel answers, but no output arrives")

    def _message(self, request: str) -> dict[str, Any] | None:
        """The next message that belongs to a request; None when there is none at the moment."""
        try:
            message = self._client.get_iopub_msg(timeout=CALM)
            mine = message["parent_header"].get("msg_id") == request
            return message if mine and type(message["content"]) is dict else None
        except queue.Empty:
            return None
        except Exception:  # forged by the student's code: not signed, no JSON, no header
            return None

    def _inspect(self, ran: Ran, clock: _Clock, request: str) -> None:
        """End what has reached a limit, and say so."""
        if not self._manager.is_alive():
            self.alive, ran.trouble = False, "ended the kernel, or was ended at a limit of memory or processor time"
        elif excess := self._excess():
            self.alive, ran.trouble = False, excess
        elif clock.replied(self._client.shell_channel, request):
            self.alive, ran.trouble = False, "gave more output than the grader takes"
        elif clock.late() or self._worked() > clock.work:
            ran.trouble = f"was still running after {self.limits.cell:g} s and was stopped"
            if clock.interrupted:
                self.alive = False
            else:
                clock.interrupted = True
                clock.extend(10)
                self._manager.interrupt_kernel()
        if not self.alive:
            self.close()

    def _family(self) -> list[Any]:
        """The kernel's process and all that it started."""
        import psutil

        with contextlib.suppress(psutil.Error):
            first = psutil.Process(self._manager.provisioner.pid)
            return [first, *first.children(recursive=True)]
        return []

    def _worked(self) -> float:
        """The processor time that the kernel's processes have used, in seconds."""
        family = self._family()
        return _total(family, "cpu_times", "user") + _total(family, "cpu_times", "system")

    def _excess(self) -> str | None:
        """The limit that all processes of the kernel together have passed, if they have."""
        family = self._family()
        number = len(family)
        most = self.limits.memory
        # what processes share counts once only if need be: to find it out takes longer
        if _total(family, "memory_info", "rss") > most and _total(family, "memory_full_info", "uss") > most:
            return f"took more than {self.limits.memory / 2**30:g} GiB of memory and was stopped"
        if number > self.limits.processes:
            return f"started more than {self.limits.processes} processes and was stopped"
        if len(os.listdir(self._private)) > 16:
            return "wrote outside of its scratch folder and was stopped"
        return None


def _total(family: list[Any], method: str, what: str) -> float:
    """The memory or time of some processes, those that have just ended left out."""
    import psutil

    total = 0.0
    for process in family:
        with contextlib.suppress(psutil.Error):
            total += getattr(getattr(process, method)(), what)
    return total


class _Clock:
    """The time that a cell has left, and what is known of its end."""

    def __init__(self, seconds: float, work: float = math.inf) -> None:
        self.deadline = time.monotonic() + seconds
        self.work = work  # processor time, counted from the kernel's start
        self.looked = self.answered = 0.0
        self.interrupted = False

    def look(self) -> bool:
        """Whether it is time to look at the kernel; not at every message of a flood."""
        now = time.monotonic()
        due = now - self.looked >= CALM
        self.looked = now if due else self.looked
        return due

    def late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.deadline

    def extend(self, seconds: float) -> None:
        """Give it some more time, by the clock alone."""
        self.deadline, self.work = time.monotonic() + seconds, math.inf

    def replied(self, shell: Any, request: str) -> bool:
        """Whether the cell's end was reported long ago and its outputs never came: they were too large."""
        with contextlib.suppress(Exception):
            while shell.msg_ready():
                if shell.get_msg(timeout=0)["parent_header"].get("msg_id") == request:
                    self.answered = time.monotonic()
        return bool(self.answered) and time.monotonic() - self.answered > 5


def take(ran: Ran, message: dict[str, Any], most: int) -> None:
    """Keep of a message what a page of feedback can show: text, errors and pictures, up to a number of characters."""
    content, kind = message["content"], message["msg_type"]
    data = content.get("data") if kind in ("display_data", "execute_result") else None
    if type(data) is dict and EVIDENCE_TYPE in data:
        ran.evidence += [data[EVIDENCE_TYPE]] if len(ran.evidence) < 2 else []  # a second piece makes both void
        return
    if kind == "stream":
        shown = {"output_type": "stream", "name": "stdout", "text": str(content.get("text"))}
    elif kind == "error":
        lines = [f"{content.get('ename')}: {content.get('evalue')}"]
        shown = {"output_type": "error", "ename": str(content.get("ename")), "evalue": str(content.get("evalue"))}
        shown["traceback"] = [line for line in content.get("traceback") or lines if type(line) is str]
    elif type(data) is dict:
        shown = {"output_type": "display_data", "metadata": {}, "data": _plain(data)}
    else:
        return
    _append(ran, shown, most)


def _plain(data: dict[str, Any]) -> dict[str, str]:
    """Of a display, the text and the picture; a page of feedback runs no HTML and no script of a student's."""
    shown = {"text/plain": data["text/plain"]} if type(data.get("text/plain")) is str else {}
    with contextlib.suppress(KeyError, TypeError, ValueError):
        picture = base64.b64decode(data["image/png"])
        shown["image/png"] = base64.b64encode(picture).decode()
    return shown


def _append(ran: Ran, shown: dict[str, Any], most: int) -> None:
    """Add an output, or say once that the rest was cut."""
    if ran.size > most:
        return
    ran.size += len(json.dumps(shown))
    last = ran.outputs[-1] if ran.outputs else {}
    if ran.size > most:
        note = f"\n[output beyond {most:,} characters was cut]\n"
        shown = {"output_type": "stream", "name": "stdout", "text": str(shown.get("text", ""))[:1000] + note}
    if shown["output_type"] == last.get("output_type") == "stream":
        last["text"] = f"{last['text']}{shown['text']}"
    else:
        ran.outputs.append(shown)
