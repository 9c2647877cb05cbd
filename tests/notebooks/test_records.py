"""The records over seeds and the chapter table fit the committed notebooks; and the gates refuse what they must."""

import json
import subprocess
import sys

import nbformat
import pytest

from mmcook import chapters, cli
from mmcook.course import REPOSITORY

SEEDS = 5


@pytest.mark.parametrize("chapter", chapters.chapters(), ids=lambda path: path.stem)
def test_record_over_seeds_fits_the_committed_chapter(chapter):
    record = json.loads((chapters.RECORDS / f"{chapter.stem}.json").read_text())
    assert len(record["seeds"]) >= SEEDS
    assert chapters.stale(record, chapters.read_record(chapter)) == []


def test_chapter_table_in_the_readme_is_up_to_date():
    assert cli.main(["table", "--check"]) == 0


def test_stale_chapter_table_is_refused(tmp_path, monkeypatch, capsys):
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(chapters.with_table(readme, "| an older table |"), encoding="utf-8")
    monkeypatch.setattr(cli, "REPOSITORY", tmp_path)
    assert cli.main(["table", "--check"]) == 1
    assert "mmcook table" in capsys.readouterr().err


def notebook(path, *cells):
    """A notebook of a parameters cell and the given code cells."""
    parameters = nbformat.v4.new_code_cell('scale = "laptop"\nseed = 0', metadata={"tags": ["parameters"]})
    made = nbformat.v4.new_notebook(cells=[parameters, *map(nbformat.v4.new_code_cell, cells)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


def test_nbval_refuses_a_chapter_whose_claim_is_false(tmp_path):
    start = "import mmcook\nrun = mmcook.start(scale, seed)"
    false = notebook(tmp_path / "07_false.ipynb", start, 'run.claim("One exceeds two", 1 > 2, "1 against 2")')
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q", "-o", "addopts=", str(false)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "One exceeds two" in done.stdout


def test_papermill_run_refuses_an_unknown_parameter(tmp_path):
    chapter = notebook(tmp_path / "07_chapter.ipynb", "pass")
    with pytest.raises(ValueError, match="declares scale, seed, not steps"):
        chapters.execute(chapter, tmp_path / "out.ipynb", steps=3)


def test_a_claim_that_fails_with_one_seed_is_recorded_as_failing(tmp_path, monkeypatch):
    monkeypatch.setattr(chapters, "RECORDS", tmp_path / "records")
    start = "import mmcook\nrun = mmcook.start(scale, seed)"
    claim = 'run.claim("The seed is even", seed % 2 == 0, f"{seed}", headline=True)\nrun.summary()'
    path = chapters.record_seeds(notebook(tmp_path / "07_chapter.ipynb", start, claim), seeds=2)
    record = json.loads(path.read_text())
    assert record["claims"] == [{"sentence": "The seed is even", "holds": [True, False]}]
    committed = {"claims": [{"sentence": "The seed is even"}], "metrics": [], "seed": 0}
    assert chapters.stale(record, committed) == ["seed 1: The seed is even"]
