"""The rules of the house as functions that take a folder: floors of the library, links, locks, sizes."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FLOORS = {
    6: {"plots", "exercises"},  # for notebooks only
    5: {"cli", "doctor", "classroom", "chapters"},
    4: {"finetuning"},
    3: {"training", "perception"},
    2: {"datasets", "text", "vision", "audio"},
    1: {"pretraining", "alignment", "fusion", "reasoning", "generation", "decoding", "metrics"},
    0: {"course", "hub"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
PURE_FLOOR = 1
PURE_LIBRARIES = {"torch", "numpy", "scipy"} | sys.stdlib_module_names
NOTEBOOK_FLOOR = 6
MAX_FUNCTION_LINES = 60

LINK = re.compile(r"""\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|(?:href|src)=["']([^"']+)["']|^\[[^\]]+\]:\s*(\S+)""", re.M)
EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:")
CODE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1|`[^`\n]+`", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
NAMED_ANCHOR = re.compile(r"""<\w+ (?:id|name)=["']([^"']+)["']""")
ADDRESS = re.compile(r"://|file:|--(?:extra-)?index|--find-links|@")


def modules(package: Path) -> dict[str, Path]:
    """The modules of a package by dotted name, without the package's own ``__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(part for part in parts if part != "__init__")] = path
    return {name: path for name, path in found.items() if name != package.name}


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """What a module imports at run time, as dotted names; names inside a module are cut off at the module."""
    found = set()
    inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in run_time_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = inside.split(".")[: len(inside.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parents, *filter(None, [node.module])])
            submodules = {f"{origin}.{alias.name}" for alias in node.names}
            found |= {module if module in known else origin for module in submodules}
    return found


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree except those under ``if TYPE_CHECKING``."""
    yield node
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    for child in node.orelse if for_types else ast.iter_child_nodes(node):
        yield from run_time_nodes(child)


def floor_problems(package: Path) -> list[str]:
    """Modules in no room, imports that climb, impure imports of pure rooms, and cycles."""
    known = modules(package)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    found = [f"{name}: no room of the table of floors; add it there" for name in known if room(name) not in FLOOR]
    if found:
        return found
    for name, targets in graph.items():
        found += [f"{name} imports {target}: {why}" for target in sorted(targets) if (why := refusal(name, target))]
    try:
        TopologicalSorter({name: targets & known.keys() - {name} for name, targets in graph.items()}).prepare()
    except CycleError as error:
        found.append(f"imports go round in a circle: {' -> '.join(error.args[1])}")
    return found


def room(module: str) -> str:
    """The room of a module: "emoji" of "mmcook.datasets.emoji" lives in "datasets"."""
    return [*module.split("."), ""][1]


def refusal(module: str, target: str) -> str | None:
    """Why a module may not import a target; None when it may."""
    package, here = module.split(".")[0], FLOOR[room(module)]
    if target.split(".")[0] != package:
        impure = here == PURE_FLOOR and target.split(".")[0] not in PURE_LIBRARIES
        return "a pure room imports torch, NumPy, SciPy and its neighbours only" if impure else None
    if room(target) not in FLOOR:
        return "name a room of the table of floors"
    if room(target) == room(module):
        return None
    there = FLOOR[room(target)]
    if there == NOTEBOOK_FLOOR:
        return "that room serves notebooks only"
    if there > here:
        return f"it climbs from floor {here} to floor {there}"
    return "a pure room imports its neighbours only" if here == PURE_FLOOR != there else None


def documents(root: Path) -> dict[Path, str]:
    """Markdown files and the Markdown cells of notebooks, as texts without code."""
    found = {path: path.read_text(encoding="utf-8") for path in tracked(root, "*.md")}
    for path in tracked(root, "*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found[path] = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return {path: CODE.sub("", text) for path, text in found.items()}


def tracked(root: Path, pattern: str) -> list[Path]:
    """The files of the repository: not those of environments, builds and working copies."""
    ignored = {"work", "build", "runs"}
    tops = [top for top in sorted(root.iterdir()) if top.name not in ignored and not top.name.startswith(".")]
    found = [path for top in tops for path in [top, *sorted(top.rglob(pattern))] if path.match(pattern)]
    return [path for path in found if not hidden(path.relative_to(root))]


def hidden(path: Path) -> bool:
    """Whether any part of a relative path begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


def link_problems(root: Path) -> list[str]:
    """Relative links that lead nowhere."""
    texts = documents(root)
    found = []
    for path, text in texts.items():
        for link in filter(None, (link for groups in LINK.findall(text) for link in groups)):
            if not EXTERNAL.match(link) and (why := dead(path, link, root, texts)):
                found.append(f"{path.relative_to(root)}: link {link!r} {why}")
    return found


def dead(path: Path, link: str, root: Path, texts: dict[Path, str]) -> str | None:
    """Why a relative link leads nowhere; None when it does lead somewhere."""
    place, _, anchor = unquote(link).partition("#")
    target = (path.parent / place).resolve() if place else path.resolve()
    if not target.is_relative_to(root.resolve()):
        return "leaves the repository"
    if not target.exists():
        return "leads to no file"
    document = root / target.relative_to(root.resolve())
    if anchor and anchor not in anchors(texts.get(document, ""), notebook=target.suffix == ".ipynb"):
        return "names no heading of its file"
    return None


def anchors(text: str, *, notebook: bool) -> set[str]:
    """The anchors of a document: GitHub's slugs of its headings, JupyterLab's in notebooks, and those set by hand."""
    titles = HEADING.findall(text)
    found = set(NAMED_ANCHOR.findall(text))
    for title in titles:
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        repeats = sum(other.startswith(f"{slug}-") or other == slug for other in found)
        found.add(slug if slug not in found else f"{slug}-{repeats}")
    return found | {title.replace(" ", "-") for title in titles if notebook}


def lock_problems(root: Path) -> list[str]:
    """Dependencies that the lock lacks or holds at a version out of range, and addresses in it."""
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    found = [f"requirements.lock: {line!r} holds an address" for line in lock.splitlines() if ADDRESS.search(line)]
    if found:
        return found
    locked: dict[str, list[str]] = {}
    for line in filter(None, (line.partition("#")[0].strip() for line in lock.splitlines())):
        pinned = Requirement(line)
        locked.setdefault(canonicalize_name(pinned.name), []).append(str(pinned.specifier).removeprefix("=="))
    for wanted in declared(root):
        versions = locked.get(canonicalize_name(wanted.name), [])
        if not versions or not all(map(wanted.specifier.contains, versions)):
            found.append(f"requirements.lock: {wanted} is met by {versions or 'nothing'}; run make lock")
    return found


def declared(root: Path) -> list[Requirement]:
    """The dependencies and extras of pyproject.toml, without extras of the project itself."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    wanted = [Requirement(line) for group in groups for line in group]
    return [requirement for requirement in wanted if requirement.name != project["name"]]


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """A module, and its functions and classes with their qualified names."""
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        name, node = pending.pop()
        yield name, node
        within = f"{name}.<locals>" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else name
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                pending.append((f"{within}.{child.name}".lstrip("."), child))


def function_problems(package: Path) -> list[str]:
    """Public definitions without docstring, and functions that are too long."""
    found = []
    for path in sorted(package.rglob("*.py")):
        for name, node in definitions(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(package)}: {name or 'the module'}"
            public = not any(part.startswith(("_", "<")) for part in name.split("."))
            if public and not ast.get_docstring(node):
                found.append(f"{where} has no docstring")
            lines = node.end_lineno - node.lineno + 1 if hasattr(node, "lineno") else 0
            if lines > MAX_FUNCTION_LINES and not isinstance(node, ast.ClassDef):
                found.append(f"{where} has {lines} lines, at most {MAX_FUNCTION_LINES}; split it")
    return found


def lines_of_code(package: Path) -> int:
    """Lines of a package that hold code: not blank, not comment, not docstring."""
    return sum(len(code_lines(path.read_text(encoding="utf-8"))) for path in package.rglob("*.py"))


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that hold code."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in silent for line in range(token.start[0], token.end[0] + 1)}
    for _, node in definitions(ast.parse(source)):
        if ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def data_problems(data: Path) -> list[str]:
    """Folders of data that lack a licence, a source, a builder or their sums."""
    needed = ("LICENSE", "SOURCE.md", "build.py", "SHA256SUMS")
    folders = sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    return [f"data/{f.name}: {file} is missing" for f in folders for file in needed if not (f / file).is_file()]


def megabytes(folder: Path) -> float:
    """The size of a folder's files in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
