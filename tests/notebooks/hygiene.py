"""The gate for committed chapters: what is wrong with a notebook's file, naming the cell and the mend.

Run by the tests, and by pre-commit on changed chapters: ``python tests/notebooks/hygiene.py FILE…``
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from mmcook.course import RECORD_TYPE

MAX_BYTES = 1_000_000
MAX_WORDS = 119  # prose cells stay under 120
MAX_CODE_LINES = 40
MIN_FIGURES = 3
MIN_CLAIMS = 3
MIN_ALT = 20  # characters: less than that cannot say what is to be seen
WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
RERUN = "restart the kernel, run all cells and save"

COMPLAINT = re.compile(r"(?i:warning:)|\bWARNING\b|Traceback \(most recent call last\)")  # an emoji is named warning
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|home|Users|tmp|work)/|[A-Za-z]:\\{1,2}Users")
EMBEDDED = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]*")  # may spell /tmp/ by chance
FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r" {0,3}(#{1,6})(?:\s+(.*))?$")
GLOSSARY_LINK = re.compile(r"\]\((?:\./)?glossary\.md(?:#[^)]*)?\)")
MARKDOWN_IMAGE = re.compile(r"!\[([^\]]*)\]\(")
NOT_PROSE = [re.compile(r"(?<!\\)\$\$.*?\$\$", re.DOTALL), re.compile(r"(?<!\\)\$[^$]+\$")]
NOT_PROSE += [re.compile(r"^\s*\|.*$", re.MULTILINE), re.compile(r"</?[a-zA-Z][^>]*>")]


@dataclass
class Cell:
    """A cell of a notebook file, and its number counted from 1."""

    number: int
    kind: str
    source: str
    id: str | None
    execution_count: int | None
    tags: list[str]
    outputs: list[dict[str, Any]]

    @property
    def displays(self) -> list[dict[str, Any]]:
        """The MIME bundles among its outputs."""
        return [output["data"] for output in self.outputs if "data" in output]


@dataclass
class Notebook:
    """A notebook file, as it lies on the disk."""

    cells: list[Cell]
    metadata: dict[str, Any]
    size: int

    @property
    def code(self) -> list[Cell]:
        """Its code cells."""
        return [cell for cell in self.cells if cell.kind == "code"]

    @property
    def prose(self) -> list[Cell]:
        """Its Markdown cells."""
        return [cell for cell in self.cells if cell.kind == "markdown"]


def problems(path: Path) -> list[str]:
    """What is wrong with a committed chapter; an empty list when it is clean."""
    notebook = read(path)
    return [problem for rule in RULES for problem in rule(notebook)]


def read(path: Path) -> Notebook:
    """A notebook as the file has it; nbformat would quietly add the ids that are missing."""
    content = json.loads(path.read_text(encoding="utf-8"))
    cells = [
        Cell(
            number=number,
            kind=cell["cell_type"],
            source=joined(cell["source"]),
            id=cell.get("id"),
            execution_count=cell.get("execution_count"),
            tags=cell["metadata"].get("tags", []),
            outputs=cell.get("outputs", []),
        )
        for number, cell in enumerate(content["cells"], 1)
    ]
    return Notebook(cells, content["metadata"], path.stat().st_size)


def executed_in_order(notebook: Notebook) -> Iterator[str]:
    """The code cells were run once each, from the first to the last."""
    for expected, cell in enumerate(notebook.code, 1):
        if cell.execution_count != expected:
            yield f"cell {cell.number}: execution count {cell.execution_count}, expected {expected}; {RERUN}"


def no_errors(notebook: Notebook) -> Iterator[str]:
    """No cell ended in an error, wrote to stderr, or shows a warning."""
    for cell in notebook.code:
        if any(output["output_type"] == "error" for output in cell.outputs):
            yield f"cell {cell.number}: ends in an error; mend it and {RERUN}"
        if any(output.get("name") == "stderr" for output in cell.outputs):
            yield f"cell {cell.number}: writes to stderr; mend or silence the cause and {RERUN}"
        for match in first(COMPLAINT, output_texts(cell)):
            yield f"cell {cell.number}: output shows {match!r}; mend the cause and {RERUN}"


def no_machine_paths(notebook: Notebook) -> Iterator[str]:
    """No path of the author's machine is left in sources or outputs."""
    for cell in notebook.cells:
        for match in first(MACHINE_PATH, [without_embedded(cell.source), *output_texts(cell)]):
            yield f"cell {cell.number}: names a path of a machine ({match}); use a path relative to the repository"


def no_widgets(notebook: Notebook) -> Iterator[str]:
    """No widget is saved: its state is large, and empty for the next reader."""
    if "widgets" in notebook.metadata:
        yield "metadata: holds widget state; clear the widgets' outputs and save without widget state"
    for cell in notebook.code:
        if any(WIDGET_TYPE in data for data in cell.displays):
            yield f"cell {cell.number}: output is a widget; print plain text or call plots.show"


def cells_have_ids(notebook: Notebook) -> Iterator[str]:
    """Every cell has an id of its own, so that diffs and comparisons can name it."""
    seen = set()
    for cell in notebook.cells:
        if cell.id is None or cell.id in seen:
            yield f"cell {cell.number}: has no id of its own; open and save the notebook in JupyterLab"
        seen.add(cell.id)


def kernel_is_python3(notebook: Notebook) -> Iterator[str]:
    """The kernel's name is the one that every installation has."""
    name = notebook.metadata.get("kernelspec", {}).get("name")
    if name != "python3":
        yield f"metadata: kernelspec is {name!r}; choose the kernel python3 and save"


def figures_have_alt_text(notebook: Notebook) -> Iterator[str]:
    """There are enough figures; each is embedded and says in words what is to be seen."""
    shown = 0
    for cell in notebook.cells:
        if any(kind.startswith("image/") for data in cell.displays for kind in data):
            yield f"cell {cell.number}: a bare image has no alt text; show it with plots.show(figure, alt)"
        in_outputs = images("".join(joined(data.get("text/html", "")) for data in cell.displays))
        in_prose = images(cell.source) if cell.kind == "markdown" else []
        shown += len(in_outputs)
        if not all(image.get("src", "").startswith("data:image/") for image in in_outputs):
            yield f"cell {cell.number}: a figure lies outside the notebook; embed it with plots.show(figure, alt)"
        for image in in_outputs + in_prose:
            if len(alt := image.get("alt") or "") < MIN_ALT:
                yield f"cell {cell.number}: alt text {alt!r} has under {MIN_ALT} characters; say what is to be seen"
    if shown < MIN_FIGURES:
        yield f"notebook: shows {shown} figures; a chapter needs at least {MIN_FIGURES}"


def claims_are_made(notebook: Notebook) -> Iterator[str]:
    """The chapter stands by what it says: enough claims, one of them its headline."""
    claims = [call for cell in notebook.code for call in calls(cell, "claim")]
    headlines = [call for call in claims if any(map(is_headline, call.keywords))]
    if len(claims) < MIN_CLAIMS:
        yield f"notebook: makes {len(claims)} claims; a chapter needs at least {MIN_CLAIMS} calls of run.claim"
    if len(headlines) != 1:
        yield f"notebook: {len(headlines)} claims have headline=True; mark exactly one"


def parameters_are_plain(notebook: Notebook) -> Iterator[str]:
    """One cell holds the parameters, in the form that papermill can read and set."""
    tagged = [cell for cell in notebook.code if "parameters" in cell.tags]
    if len(tagged) != 1:
        yield f"notebook: {len(tagged)} code cells are tagged parameters; tag exactly one"
        return
    (cell,) = tagged
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]
    assigned = [plain_assignment(line) for line in lines]
    for line in [line for line, pair in zip(lines, assigned, strict=True) if pair is None]:
        yield f"cell {cell.number}: {line!r} is not a plain assignment; write name = value, one a line"
    if not {("scale", "laptop"), ("seed", 0)} <= {pair for pair in assigned if pair}:
        yield f'cell {cell.number}: the parameters lack scale = "laptop" or seed = 0; add them'


def ends_with_summary(notebook: Notebook) -> Iterator[str]:
    """The last code cell closes the run and shows its record."""
    last = notebook.code[-1]
    if not calls(last, "summary"):
        yield f"cell {last.number}: the last code cell does not call run.summary(); add it"
    if not any(RECORD_TYPE in data for data in last.displays):
        yield f"cell {last.number}: the last code cell shows no record of the run; call run.summary() and {RERUN}"


def file_is_small(notebook: Notebook) -> Iterator[str]:
    """A clone stays quick, and GitHub still renders the file."""
    if notebook.size > MAX_BYTES:
        yield f"notebook: {notebook.size:,} bytes, at most {MAX_BYTES:,}; lower the figures' resolution or show fewer"


def cells_are_short(notebook: Notebook) -> Iterator[str]:
    """A cell holds one idea."""
    for cell in notebook.prose:
        if (count := words(cell.source)) > MAX_WORDS:
            yield f"cell {cell.number}: {count} words of prose, at most {MAX_WORDS}; cut it or split it"
    for cell in notebook.code:
        if (count := len(cell.source.splitlines())) > MAX_CODE_LINES:
            yield f"cell {cell.number}: {count} lines of code, at most {MAX_CODE_LINES}; split it"


def headings_have_content(notebook: Notebook) -> Iterator[str]:
    """Something follows every heading before the next of its level or above."""
    waiting: tuple[int, int, str] | None = None  # number of the cell, level, title
    for number, line in [*lines_of_story(notebook), (0, "# end")]:
        if match := HEADING.match(line):
            level, title = len(match[1]), (match[2] or "").strip()
            if waiting and level <= waiting[1]:
                yield f"cell {waiting[0]}: nothing stands under the heading {waiting[2]!r}; fill it or drop it"
            if not title:
                yield f"cell {number}: a heading has no words; give it a title or drop it"
            waiting = (number, level, title)
        elif re.search(r"\w", line):
            waiting = None


def links_to_glossary(notebook: Notebook) -> Iterator[str]:
    """A reader who meets a new word finds the way to its explanation."""
    if not any(GLOSSARY_LINK.search(cell.source) for cell in notebook.prose):
        yield "notebook: has no link to the glossary; add [glossary](glossary.md)"


def no_moving_output(notebook: Notebook) -> Iterator[str]:
    """Progress is printed: bars and cleared outputs leave rubbish in a saved file."""
    for cell in notebook.cells:
        for match in first(re.compile(r"clear_output|tqdm"), [cell.source]):
            yield f"cell {cell.number}: uses {match}; print a line every few seconds instead"


RULES: tuple[Callable[[Notebook], Iterator[str]], ...] = (
    executed_in_order,
    no_errors,
    no_machine_paths,
    no_widgets,
    cells_have_ids,
    kernel_is_python3,
    figures_have_alt_text,
    claims_are_made,
    parameters_are_plain,
    ends_with_summary,
    file_is_small,
    cells_are_short,
    headings_have_content,
    links_to_glossary,
    no_moving_output,
)


def joined(text: str | list[str]) -> str:
    """A text of a notebook file, which may be stored as a list of lines."""
    return text if isinstance(text, str) else "".join(text)


def without_embedded(text: str) -> str:
    """A text without the base64 of its pictures and sounds."""
    return EMBEDDED.sub("", text)


def output_texts(cell: Cell) -> Iterator[str]:
    """What a cell's outputs say, printed or shown."""
    for output in cell.outputs:
        yield joined(output.get("text", ""))
    for data in cell.displays:
        for kind, content in data.items():
            if not kind.startswith("image/"):
                yield without_embedded(json.dumps(content) if isinstance(content, dict) else joined(content))


def first(pattern: re.Pattern[str], texts: list[str] | Iterator[str]) -> list[str]:
    """The first match of a pattern in some texts, as a list of one; an empty list when there is none."""
    return [match[0] for text in texts if (match := pattern.search(text))][:1]


def images(text: str) -> list[dict[str, str | None]]:
    """The attributes of the pictures in a piece of HTML or Markdown."""
    finder = _ImageFinder()
    finder.feed(text)
    return finder.found + [{"alt": alt} for alt in MARKDOWN_IMAGE.findall(text)]


class _ImageFinder(HTMLParser):
    """Collects the attributes of img tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the attributes of a picture."""
        if tag == "img":
            self.found.append(dict(attrs))


def calls(cell: Cell, method: str) -> list[ast.Call]:
    """The calls ``run.method(…)`` in a cell; none where the cell is not Python."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(cell.source))
    except SyntaxError:
        return []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func) == f"run.{method}"]


def is_headline(keyword: ast.keyword) -> bool:
    """Whether a claim's argument is ``headline=True``."""
    return keyword.arg == "headline" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True


def plain_assignment(line: str) -> tuple[str, object] | None:
    """Name and value of ``name = literal``; None for anything else."""
    try:
        (node,) = ast.parse(line.rstrip()).body
        (target,) = node.targets
        return target.id, ast.literal_eval(node.value)
    except (SyntaxError, ValueError, AttributeError):
        return None


def words(text: str) -> int:
    """The words of a prose cell, without formulas, tables and HTML tags."""
    for pattern in NOT_PROSE:
        text = pattern.sub(" ", text)
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def lines_of_story(notebook: Notebook) -> Iterator[tuple[int, str]]:
    """Each line of the prose with its cell's number; fenced and executed code stands as one line."""
    for cell in notebook.cells:
        text = FENCE.sub("code", cell.source) if cell.kind == "markdown" else "code"
        yield from ((cell.number, line) for line in text.splitlines())


def main(arguments: list[str]) -> int:
    """Print what is wrong with the named chapters; the exit status is 1 if anything is."""
    found = [f"{path}: {problem}" for path in arguments for problem in problems(Path(path))]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
