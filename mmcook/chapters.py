"""The chapters as files: execute them, read and compare their records, write the chapter table."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import unittest.mock
from pathlib import Path
from typing import Any

from mmcook.course import KEEP_GOING, RECORD_TYPE, REPOSITORY, write_atomically

NOTEBOOKS = REPOSITORY / "notebooks"
RECORDS = NOTEBOOKS / "records"
TABLE_START, TABLE_END = "<!-- chapter table: written by `mmcook table` -->", "<!-- end of chapter table -->"
Record = dict[str, Any]


def chapters(folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of the chapters, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def find(number: str) -> Path:
    """The chapter with a number, "7" or "07", or a name, "07_contrastive_alignment".

    Raises: ValueError when there is none.
    """
    known = chapters()
    wanted = number.zfill(2)
    for path in known:
        if path.stem in (number, wanted) or path.stem.startswith(f"{wanted}_"):
            return path
    raise ValueError(f"no chapter {number!r}; there are {', '.join(path.stem for path in known)}")


def execute(chapter: Path, output: Path, **parameters: object) -> Record:
    """Run a chapter from top to bottom with other values for its parameters, and return its record.

    Args:
        chapter: the notebook.
        output: where the executed copy goes.
        parameters: values for names that the cell tagged ``parameters`` assigns.
    Raises:
        ValueError: a parameter that the chapter does not declare (papermill alone would only warn).
        papermill.PapermillExecutionError: a cell raised, a false claim for instance.
    """
    import papermill

    declared = papermill.inspect_notebook(str(chapter))
    if unknown := set(parameters) - set(declared):
        raise ValueError(f"{chapter.name} declares {', '.join(declared) or 'no parameter'}, not {', '.join(unknown)}")
    papermill.execute_notebook(
        str(chapter), str(output), parameters, kernel_name="python3", cwd=str(chapter.parent), progress_bar=False
    )
    return read_record(output)


def read_record(notebook: Path) -> Record:
    """The record that the last cell of an executed notebook holds.

    Raises: ValueError when the notebook has none.
    """
    for output in reversed(_outputs(notebook)):
        if found := output.get("data", {}).get(RECORD_TYPE):
            return found
    raise ValueError(f"{notebook.name} holds no record; end it with run.summary() and run it to the end")


def differences(fresh: Record, committed: Record, *, numbers: bool) -> list[str]:
    """What a fresh run does otherwise than the committed one, in words.

    Args:
        fresh: record of the run to be judged.
        committed: record in the committed notebook.
        numbers: whether the metrics must agree within their tolerances, and every claim hold; at smoke scale they
            need not.
    """
    found = [
        f"{what}: {fresh_value} in this run, {committed_value} in the committed one"
        for what, fresh_value, committed_value in (
            ("claims", [c["sentence"] for c in fresh["claims"]], [c["sentence"] for c in committed["claims"]]),
            ("metrics", [m["name"] for m in fresh["metrics"]], [m["name"] for m in committed["metrics"]]),
            ("stages", sorted(fresh["stages"]), sorted(committed["stages"])),
            ("weights", sorted(fresh["weights"]), sorted(committed["weights"])),
            ("device", fresh["device"], committed["device"]),
        )
        if fresh_value != committed_value
    ]
    if not numbers or found:
        return found
    found += [f"claim does not hold: {c['sentence']} ({c['evidence']})" for c in fresh["claims"] if not c["holds"]]
    for new, old in zip(fresh["metrics"], committed["metrics"], strict=True):
        if old["tolerance"] is not None and abs(new["value"] - old["value"]) > old["tolerance"]:
            found.append(f"{old['name']}: {new['value']:.4f}, committed {old['value']:.4f} ± {old['tolerance']}")
    return found


def shape(notebook: Path) -> dict[str, int]:
    """How many code cells of a notebook ran and how many figures they show."""
    cells = [c for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    cells = [c for c in cells if "injected-parameters" not in c["metadata"].get("tags", [])]
    ran = sum(c["execution_count"] is not None for c in cells)
    return {"cells run": ran, "figures": json.dumps(_outputs(notebook)).count("data:image/png;base64")}


def record_seeds(chapter: Path, seeds: int = 5) -> Path:
    """Run a chapter at laptop scale with seeds 0, 1, … and commit what its claims and metrics come to.

    The interval of a metric is the mean ± t(0.975) standard errors over the seeds. A claim that fails with one seed
    is recorded as failing; the tests refuse such a record.

    Returns: the file under ``notebooks/records``.
    """
    with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.dict(os.environ, {KEEP_GOING: "1"}):
        runs = [execute(chapter, Path(folder) / f"{s}.ipynb", scale="laptop", seed=s) for s in range(seeds)]
    claims = [
        {"sentence": c["sentence"], "holds": [run["claims"][i]["holds"] for run in runs]}
        for i, c in enumerate(runs[0]["claims"])
    ]
    metrics = [
        _over_seeds(m["name"], [run["metrics"][i]["value"] for run in runs]) for i, m in enumerate(runs[0]["metrics"])
    ]
    record = {
        "chapter": chapter.stem,
        "scale": "laptop",
        "hardware": runs[0]["hardware"],
        "seeds": list(range(seeds)),
        "claims": claims,
        "metrics": metrics,
    }
    path = RECORDS / f"{chapter.stem}.json"
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path


def stale(record: Record, committed: Record) -> list[str]:
    """Where a record over seeds no longer fits the committed notebook: other claims, metrics or numbers at seed 0."""
    found = []
    if [c["sentence"] for c in record["claims"]] != [c["sentence"] for c in committed["claims"]]:
        found.append("the claims have changed")
    found += [f"seed {i}: {c['sentence']}" for c in record["claims"] for i, held in enumerate(c["holds"]) if not held]
    recorded = {m["name"]: m["values"] for m in record["metrics"]}
    measured = [m["name"] for m in committed["metrics"]]
    found += [f"{name} is recorded but no longer measured" for name in recorded if name not in measured]
    for metric in committed["metrics"]:
        values = recorded.get(metric["name"])
        tolerance = metric["tolerance"]
        if values is None:
            found.append(f"{metric['name']} is not recorded")
        elif tolerance is not None and abs(values[committed["seed"]] - metric["value"]) > tolerance:
            found.append(f"{metric['name']}: {values[committed['seed']]:.4f} recorded, {metric['value']:.4f} committed")
    return found


def table(folder: Path = NOTEBOOKS) -> str:
    """The chapter table in Markdown: title, headline claim with its number, minutes at laptop scale.

    Raises: ValueError when a chapter has no record, or not one headline claim.
    """
    lines = ["| chapter | what it shows, measured at laptop scale | minutes |", "|---|---|---|"]
    for path in chapters(folder):
        record = read_record(path)
        headlines = [f"{c['sentence']}: {c['evidence']}" for c in record["claims"] if c["headline"]]
        if len(headlines) != 1:
            raise ValueError(f"{path.name} has {len(headlines)} headline claims; expected one")
        shows, minutes = headlines[0].replace("|", "\\|"), record["seconds"] / 60
        lines.append(f"| [{_title(path)}](notebooks/{path.name}) | {shows} | {minutes:.1f} |")
    return "\n".join(lines)


def with_table(readme: str, written: str) -> str:
    """A README with the chapter table between its two marks.

    Raises: ValueError when the marks are missing.
    """
    pattern = re.compile(f"(?<={re.escape(TABLE_START)}\n).*?(?={re.escape(TABLE_END)})", re.DOTALL)
    if not pattern.search(readme):
        raise ValueError(f"README.md lacks the lines {TABLE_START!r} and {TABLE_END!r} between which the table stands")
    return pattern.sub(lambda _: written + "\n", readme)


def work_on(chapter: Path) -> list[Path]:
    """Put working copies of a chapter and its exercises into ``work/``, which git ignores; copies there already stay.

    Returns: the new copies.
    Raises: FileExistsError when there is nothing to add; what is there may hold your work.
    """
    exercises = chapter.parent / "exercises" / chapter.stem / "exercises.ipynb"
    wanted = {chapter.name: chapter}
    if exercises.is_file():
        wanted[f"{chapter.stem}_exercises.ipynb"] = exercises
    work = REPOSITORY / "work"
    work.mkdir(exist_ok=True)
    made = [Path(shutil.copyfile(origin, work / name)) for name, origin in wanted.items() if not (work / name).exists()]
    if not made:
        names = " and ".join(f"work/{name}" for name in wanted)
        are = "are" if len(wanted) > 1 else "is"
        raise FileExistsError(f"{names} {are} there already; rename or delete to start afresh")
    return made


def _over_seeds(name: str, values: list[float]) -> dict[str, Any]:
    """A metric's mean over the seeds with its 95 % interval."""
    import numpy as np
    from scipy import stats

    mean = float(np.mean(values))
    margin = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else 0.0
    return {"name": name, "mean": mean, "low": mean - margin, "high": mean + margin, "values": values}


def _outputs(notebook: Path) -> list[dict[str, Any]]:
    """All outputs of a notebook's code cells, in order."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def _title(notebook: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "".join(cells[0]["source"]).split("\n")[0].removeprefix("# ")
