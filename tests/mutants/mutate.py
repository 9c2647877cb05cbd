"""What `make mutants` runs: small faults are put into the library, one at a time, and the tests must notice them.

    python tests/mutants/mutate.py [ROOM ...] [--number 60] [--seed 0] [--list]

A mutant is a copy of the repository in which one expression of a room was changed. It lives in a temporary folder
and is judged by the tests of its room, in a fork of a process that has torch and the others imported already; it
counts as caught when a test fails, when the process dies, and when it takes too long.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "mmcook"
ROOMS = ["alignment", "fusion", "metrics", "pretraining", "training", "vision", "text"]
WIDE = ["tests/proofs", "tests/test_contrastive_training.py"]  # tests that judge more than one room
TESTS = {
    "alignment": WIDE,
    "training": WIDE,
    "pretraining": WIDE[:1],
    "vision": ["tests/test_regions.py"],
}  # beside tests/test_ROOM*.py and what mutants brought to light
FOUND = "tests/test_mutants_found.py"
SHARE = 0.95  # of the mutants that are not equivalent
SLOW = 2.0  # seconds; tests that take longer come last, since most mutants fail before
PRELOAD = (
    "accelerate",
    "nbformat",
    "open_clip.loss",
    "pandas",
    "pyarrow.parquet",
    "pytest",
    "pytorch_metric_learning.losses",
    "safetensors.torch",
    "timm",
    "torch",
    "torch.distributed",
    "torchvision.io",
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.clip.modeling_clip",
    "transformers.models.timm_wrapper.modeling_timm_wrapper",
    "transformers.optimization",
)

# Survivors that compute the same as the original, and why. One that a test catches after all is reported.
EQUIVALENT = {
    "training.save_checkpoint: v.detach() -> v": "state_dict() gives tensors that are detached already",
    "training.epochs.rows: seed * 1000003 -> seed * 1000004": "any number larger than that of the epochs does",
    "text._encode: sorted(range(len(texts)), key=lambda i: len(texts[i])) -> list(range(len(texts)))": (
        "the order decides how much is padded, and so the time, but no embedding"
    ),
    "vision._crop: antialias=True -> antialias=False": (
        "a crop is never larger than the picture, so it is only enlarged"
    ),
}


# ------------------------------------------------------------------------------------------------ the operators

SIGNS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
AXES = {"0": "1", "1": "0", "-1": "0"}
REDUCTIONS = {
    "mean": "sum",
    "sum": "mean",
    "amax": "mean",
    "amin": "mean",
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
}
COMPARISONS = {  # the boundary moves, the sense turns round
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
DROPPED_METHODS = {"clamp", "clone", "contiguous", "detach", "double", "eval", "exp", "float", "masked_fill"}
DROPPED_METHODS |= {"requires_grad_", "softmax", "sqrt", "square", "train"}
DROPPED_FUNCTIONS = {"normalize", "round", "sorted"}


def changed(node: ast.AST, **fields: object) -> ast.AST:
    """The node with other values of some fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def sign(node: ast.AST) -> Iterator[ast.AST]:
    """a + b <-> a - b, a * b <-> a / b, -a -> a; not for texts and paths."""
    texts = [node.left, node.right] if isinstance(node, ast.BinOp) else []
    if any(isinstance(part, ast.JoinedStr) for part in texts):
        return
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SIGNS:
        yield changed(node, op=SIGNS[type(node.op)]())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand


def axis(node: ast.AST) -> Iterator[ast.AST]:
    """dim=0 <-> dim=1, dim=-1 -> dim=0; x[:, None] <-> x[None, :]."""
    if isinstance(node, ast.keyword) and node.arg in ("dim", "axis") and ast.unparse(node.value) in AXES:
        yield changed(node, value=ast.parse(AXES[ast.unparse(node.value)], mode="eval").body)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        parts = node.slice.elts
        if any(isinstance(part, ast.Constant) and part.value is None for part in parts):
            yield changed(node, slice=ast.Tuple(parts[::-1], ast.Load()))


def reduction(node: ast.AST) -> Iterator[ast.AST]:
    """mean <-> sum, amax -> mean, max <-> min, any <-> all; called as methods or functions."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in REDUCTIONS:
        yield changed(node, func=changed(node.func, attr=REDUCTIONS[node.func.attr]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("max", "min", "any", "all"):
        yield changed(node, func=ast.Name(REDUCTIONS[node.func.id], ast.Load()))


def mask(node: ast.AST) -> Iterator[ast.AST]:
    """~a -> a, x.masked_fill(a, value) -> x.masked_fill(~a, value), a | b <-> a & b."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        yield node.operand
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "masked_fill":
        yield changed(node, args=[ast.UnaryOp(ast.Invert(), node.args[0]), *node.args[1:]])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd):
        yield changed(node, op=ast.BitAnd() if isinstance(node.op, ast.BitOr) else ast.BitOr())


def constant(node: ast.AST) -> Iterator[ast.AST]:
    """0 -> 1, 1 -> 2, k -> k + 1; 1e-4 -> 0.0, 0.5 -> 1.0, other floats are doubled."""
    if not isinstance(node, ast.Constant):
        return
    if type(node.value) is int:
        yield ast.Constant(node.value + 1)
    if type(node.value) is float:
        yield ast.Constant(1.0 if node.value == 0 else 0.0 if abs(node.value) < 1e-2 else 2 * node.value)


def dropped(node: ast.AST) -> Iterator[ast.AST]:
    """F.normalize(x, ...) -> x, x.detach() -> x, x.T -> x; no_grad and calls that stand alone are left out."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DROPPED_METHODS:
        yield node.func.value
    if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).split(".")[-1] in DROPPED_FUNCTIONS:
        yield ast.Call(ast.Name("list", ast.Load()), node.args[:1], []) if _named(node.func, "sorted") else node.args[0]
    if isinstance(node, ast.Attribute) and node.attr == "T" and isinstance(node.ctx, ast.Load):
        yield node.value
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    if isinstance(node, ast.With) and "no_grad" in ast.unparse(node.items[0]):
        yield ast.If(ast.Constant(True), node.body, [])
    if isinstance(node, ast.FunctionDef):
        for i, decorator in enumerate(node.decorator_list):
            if "no_grad" in ast.unparse(decorator):
                yield changed(node, decorator_list=node.decorator_list[:i] + node.decorator_list[i + 1 :])


def comparison(node: ast.AST) -> Iterator[ast.AST]:
    """< to <= and to >=, == <-> !=, in <-> not in, is <-> is not."""
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                yield changed(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])


def boolean(node: ast.AST) -> Iterator[ast.AST]:
    """And <-> or, not a -> a, True <-> False, if a -> if not a, a if c else b -> b if c else a."""
    if isinstance(node, ast.BoolOp):
        yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield changed(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.IfExp):
        yield changed(node, body=node.orelse, orelse=node.body)


OPERATORS: list[Callable[[ast.AST], Iterator[ast.AST]]] = [
    sign,
    axis,
    reduction,
    mask,
    constant,
    dropped,
    comparison,
    boolean,
]


# ------------------------------------------------------------------------------------------------ the mutants

QUIET_DEFAULTS = {"seed", "batch", "save_every"}  # what they are set to decides no result
QUIET_KEYWORDS = {"strict", "ignore_errors"}  # nets under what cannot happen


@dataclass(frozen=True)
class Mutant:
    """One change: where, by which operator, from what to what, and the whole file with it."""

    path: str
    line: int
    where: str
    operator: str
    before: str
    after: str
    source: str

    @property
    def room(self) -> str:
        """The room that the file belongs to."""
        return Path(self.path).parts[1].removesuffix(".py")

    @property
    def name(self) -> str:
        """The mutant by function and change, as EQUIVALENT names it; no line number, since lines move."""
        return f"{self.where}: {self.before} -> {self.after}"


def mutants_of(source: str, path: str = "room.py") -> list[Mutant]:
    """Every mutant of a source text; two that read alike are one, and one that reads like the original is none."""
    tree, found = ast.parse(source), []
    left_alone = {id(node) for node in quiet(tree)}
    seen = {ast.unparse(tree)}
    for parent, field, index, where in slots(tree, Path(path).stem, left_alone):
        node = getattr(parent, field) if index is None else getattr(parent, field)[index]
        small = isinstance(node, ast.Constant | ast.keyword | ast.UnaryOp)
        for operator in OPERATORS:
            for other in operator(node):
                before = _short(parent if small else node)
                _put(parent, field, index, other)
                text, after = ast.unparse(tree), _short(parent if small else other)
                _put(parent, field, index, node)
                if text not in seen:
                    seen.add(text)
                    found.append(Mutant(path, node.lineno, where, operator.__name__, before, after, text))
    return found


def slots(node: ast.AST, where: str, left_alone: set[int]) -> Iterator[tuple[ast.AST, str, int | None, str]]:
    """All places that hold a node which may be changed: its parent, the field, the index in it; and the function."""
    for field, value in ast.iter_fields(node):
        for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and id(child) not in left_alone:
                yield node, field, i, where
                deeper = isinstance(child, ast.FunctionDef | ast.ClassDef)
                yield from slots(child, f"{where}.{child.name}" if deeper else where, left_alone)


def quiet(tree: ast.Module) -> Iterator[ast.AST]:
    """What is left alone, with all below: a fault there changes no result, or the file would not even be imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise | ast.JoinedStr):  # messages
            yield node
        if isinstance(node, ast.FunctionDef) and node.name in ("__repr__", "__str__"):
            yield node
        if isinstance(node, ast.keyword) and node.arg in QUIET_KEYWORDS:
            yield node
        if isinstance(node, ast.keyword) and node.arg in ("dim", "axis"):  # the operator `axis` sees the keyword
            yield node.value
        if isinstance(node, ast.arguments):
            named = [*zip([*node.posonlyargs, *node.args][::-1], node.defaults[::-1], strict=False)]
            named += zip(node.kwonlyargs, node.kw_defaults, strict=True)
            yield from (default for argument, default in named if argument.arg in QUIET_DEFAULTS and default)
        for field in ("annotation", "returns"):
            if getattr(node, field, None):
                yield getattr(node, field)
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Subscript):  # a name for a type
            yield statement


def drawn(mutants: dict[str, list[Mutant]], number: int, seed: int) -> list[Mutant]:
    """A random sample over all rooms, in proportion to the mutants of each; the same for the same seed."""
    total = sum(map(len, mutants.values()))
    number = min(number, total)
    exact = {room: number * len(found) / total for room, found in mutants.items()}
    quota = {room: int(share) for room, share in exact.items()}
    by_remainder = sorted(exact, key=lambda room: quota[room] - exact[room])
    for room in by_remainder[: number - sum(quota.values())]:
        quota[room] += 1
    sample = []
    for room, found in mutants.items():
        chosen = random.Random(f"{seed} {room}").sample(range(len(found)), quota[room])
        sample += [found[i] for i in sorted(chosen)]
    return sample


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    """Set a place to a node."""
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _named(node: ast.AST, name: str) -> bool:
    """Whether a node is that name."""
    return isinstance(node, ast.Name) and node.id == name


def _short(node: ast.AST) -> str:
    """The first line of a node as text, at most 100 characters."""
    return ast.unparse(node).splitlines()[0][:100]


# ------------------------------------------------------------------------------------------------ the judgement


@dataclass(frozen=True)
class Verdict:
    """What the tests said of a copy: the test that failed first ("" when all pass), the slow ones, and the seconds."""

    by: str
    slow: list[str]
    seconds: float


class Witness:
    """The pytest plugin that notes which test fails first and which are slow, and puts the slow ones last."""

    def __init__(self, slow: Sequence[str]):
        self.last, self.failed, self.seconds = set(slow), "", {}

    def pytest_collection_modifyitems(self, items: list) -> None:
        items.sort(key=lambda item: item.nodeid in self.last)

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.failed = self.failed or f"collection of {report.nodeid}"

    def pytest_runtest_logreport(self, report) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid


def copy_of(repository: Path, target: Path) -> Path:
    """A copy of the repository to be changed: library and tests copied, all else linked."""
    target.mkdir()
    for source in repository.iterdir():
        if source.name in (PACKAGE, "tests"):
            shutil.copytree(source, target / source.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.name == "pyproject.toml":
            shutil.copy(source, target)
        elif not source.name.startswith("."):
            (target / source.name).symlink_to(source.resolve())
    with contextlib.suppress(FileExistsError):  # a test may start a process that sees only the folder of the tests
        (target / "tests" / PACKAGE).symlink_to(Path("..") / PACKAGE)
    return target


def tests_of(room: str, repository: Path) -> list[str]:
    """The test files and folders that judge a room.

    Raises: ValueError when the room has none of its own.
    """
    own = [str(path.relative_to(repository)) for path in sorted(repository.glob(f"tests/test_{room}*.py"))]
    if not own:
        raise ValueError(f"room {room!r} has no tests/test_{room}.py")
    others = [name for name in (*TESTS.get(room, []), FOUND) if (repository / name).exists()]
    return list(dict.fromkeys([*own, *others]))


def judge(folder: Path, tests: list[str], slow: Sequence[str] = (), limit: float = 3600) -> Verdict:
    """Run tests on a copy in a fork of this process, until one fails or the seconds are over."""
    start = time.perf_counter()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            _run_tests(folder, tests, slow)
        except BaseException:
            (folder / "error").write_text(traceback.format_exc())
        finally:
            os._exit(0)
    child = psutil.Process(pid)
    try:
        ended = child.wait(timeout=limit)
    except psutil.TimeoutExpired:
        _stop(child)
        return Verdict(f"the time limit of {limit:.0f} s", [], time.perf_counter() - start)
    seconds = time.perf_counter() - start
    if (folder / "error").exists():
        raise RuntimeError((folder / "error").read_text())
    if not (folder / "verdict.json").exists():
        return Verdict(f"the death of the process ({ended})", [], seconds)
    said = json.loads((folder / "verdict.json").read_text())
    if said["package"] and not Path(said["package"]).is_relative_to(folder.resolve()):
        raise RuntimeError(f"the tests looked at {said['package']}, not at the copy in {folder}")
    return Verdict(said["by"], said["slow"], seconds)


def _run_tests(folder: Path, tests: list[str], slow: Sequence[str]) -> None:
    """The life of the fork: see the copy first, run pytest, write down what came of it."""
    import pytest

    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    sys.path[:0] = [str(folder)]
    sys.dont_write_bytecode = True
    fresh = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "MMCOOK_FEATURES": str(folder / "features")}
    os.environ.update(fresh)  # cached features would hide the change; weights stay shared
    witness = Witness(slow)
    options = ["-x", "-q", "--tb=short", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
    status = pytest.main([*options, *tests], plugins=[witness])
    by = witness.failed or ("" if status == 0 else f"pytest's exit status {int(status)}")
    package = getattr(sys.modules.get(PACKAGE), "__file__", None)
    slow = [test for test, seconds in witness.seconds.items() if seconds > SLOW]
    (folder / "verdict.json").write_text(json.dumps({"by": by, "slow": slow, "package": package}))


def _stop(child: psutil.Process) -> None:
    """End a fork that takes too long, so that its fixtures are cleaned up if it can, and all that it started."""
    family = [*child.children(recursive=True), child]
    child.send_signal(signal.SIGINT)
    psutil.wait_procs([child], timeout=10)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs([child], timeout=10)


# ------------------------------------------------------------------------------------------------ the command


def main(arguments: Sequence[str], repository: Path = REPOSITORY, preload: Sequence[str] = PRELOAD) -> int:
    """Draw mutants, judge them, print a line each and the totals; 1 when too few are caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"by default {' '.join(ROOMS)}")
    parser.add_argument("--number", type=int, default=60, help="how many mutants (60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (0)")
    parser.add_argument("--list", action="store_true", help="print the draw, judge nothing")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        original = copy_of(repository, Path(folder) / "original")  # edits from now on do not matter
        mutants = {room: _mutants_of_room(room, original) for room in chosen.rooms or ROOMS}
        tests = {room: tests_of(room, original) for room in mutants}
        sample = drawn(mutants, chosen.number, chosen.seed)
        sites = ", ".join(f"{room} {len(found)}" for room, found in mutants.items())
        print(f"{len(sample)} of {sum(map(len, mutants.values()))} mutants (seed {chosen.seed}; {sites})", flush=True)
        if chosen.list:
            print(*(f"{_place(m)}  {m.operator}  {m.name}" for m in sample), sep="\n")
            return 0
        for name in preload:
            importlib.import_module(name)
        before = {}
        for room in dict.fromkeys(m.room for m in sample):
            unchanged = copy_of(original, Path(folder) / f"unchanged {room}")
            before[room] = judge(unchanged, tests[room])
            if before[room].by:
                print((unchanged / "log").read_text(errors="replace")[-3000:])
                print(f"{room} fails unchanged, by {before[room].by}: mend that first")
                return 2
            print(f"{room} unchanged: all tests pass ({before[room].seconds:.0f} s)", flush=True)
        return _judge_all(sample, original, tests, before)


def _judge_all(sample: list[Mutant], original: Path, tests: dict[str, list[str]], before: dict[str, Verdict]) -> int:
    """Judge the mutants one after the other, and print what comes of them."""
    counts = {room: {"caught": 0, "equivalent": 0, "SURVIVED": 0, "seconds": 0.0} for room in before}
    for mutant in sample:
        room = mutant.room
        folder = copy_of(original, original.with_name("mutant"))
        (folder / mutant.path).write_text(mutant.source, encoding="utf-8")
        limit = 60 + 3 * before[room].seconds
        verdict = judge(folder, tests[room], before[room].slow, limit)
        shutil.rmtree(folder, ignore_errors=True)
        said = "caught" if verdict.by else "equivalent" if mutant.name in EQUIVALENT else "SURVIVED"
        counts[room][said] += 1
        counts[room]["seconds"] += verdict.seconds
        end = f" by {verdict.by}" if verdict.by else f": {EQUIVALENT[mutant.name]}" if said == "equivalent" else ""
        if verdict.by and mutant.name in EQUIVALENT:
            end += " (EQUIVALENT lists it: take it out)"
        print(f"{_place(mutant)}  {mutant.operator}  {mutant.name}  {said}{end}", flush=True)
    for room, c in counts.items():
        judged = c["caught"] + c["SURVIVED"]
        print(f"{room}: {c['caught']} of {judged} caught, {c['equivalent']} equivalent, {c['seconds']:.0f} s")
    caught, survived = (sum(c[key] for c in counts.values()) for key in ("caught", "SURVIVED"))
    share = caught / max(1, caught + survived)
    print(f"all: {caught} of {caught + survived} caught, {share:.1%}; at least {SHARE:.0%} is asked for")
    return int(share < SHARE)


def _mutants_of_room(room: str, repository: Path) -> list[Mutant]:
    """All mutants of a room, which is a file or a folder of files.

    Raises: ValueError when there is no such room.
    """
    package = repository / PACKAGE
    files = [*package.glob(f"{room}.py"), *sorted((package / room).glob("*.py"))]
    if not files:
        raise ValueError(f"no room {room!r} in {package}")
    return [
        m for file in files for m in mutants_of(file.read_text(encoding="utf-8"), str(file.relative_to(repository)))
    ]


def _place(mutant: Mutant) -> str:
    """Room and line, as room:line."""
    return f"{mutant.path.split('/', 1)[1].removesuffix('.py')}:{mutant.line}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
