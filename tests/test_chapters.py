"""Chapters are executed, their records read and compared, and what has gone stale is found."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from mmcook import chapters
from mmcook.chapters import TABLE_END, TABLE_START, Record, differences, stale


@pytest.fixture(scope="module")
def executed(small_chapter, tmp_path_factory) -> tuple[Record, Path]:
    """The small chapter, executed with another scale and seed: its record and the executed file."""
    output = tmp_path_factory.mktemp("executed") / "03_small.ipynb"
    return chapters.execute(small_chapter, output, scale="smoke", seed=3), output


@pytest.fixture
def house(tmp_path, monkeypatch) -> Path:
    """A repository with its own folder of notebooks."""
    monkeypatch.setattr(chapters, "REPOSITORY", tmp_path)
    monkeypatch.setattr(chapters, "RECORDS", tmp_path / "notebooks" / "records")
    monkeypatch.setattr(chapters.chapters, "__defaults__", (tmp_path / "notebooks",))
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def test_an_executed_chapter_returns_its_record(executed):
    record, output = executed
    assert (record["scale"], record["seed"]) == ("smoke", 3)
    assert record["claims"] == [
        {"sentence": "Two and two make four", "holds": True, "evidence": "4 against 4", "headline": True}
    ]
    assert [(m["name"], m["value"]) for m in record["metrics"]] == [("the double", 7.0)]
    assert list(record["stages"]) == ["arithmetic"]
    assert chapters.read_record(output) == record


def test_the_shape_of_a_chapter_counts_its_own_cells_and_its_figures(executed, small_chapter):
    assert chapters.shape(executed[1]) == {"cells run": 5, "figures": 1}  # not the cell that papermill puts in
    assert chapters.shape(small_chapter) == {"cells run": 0, "figures": 0}


def test_a_parameter_that_the_chapter_does_not_declare_is_refused(small_chapter, tmp_path):
    with pytest.raises(ValueError, match=r"03_small\.ipynb declares scale, seed, size, not sclae"):
        chapters.execute(small_chapter, tmp_path / "out.ipynb", sclae="smoke")
    assert list(tmp_path.iterdir()) == []


def test_a_false_claim_stops_a_chapter_at_laptop_scale(small_chapter, tmp_path):
    from papermill import PapermillExecutionError

    with pytest.raises(PapermillExecutionError, match="does not bear out: Two and two make four"):
        chapters.execute(small_chapter, tmp_path / "out.ipynb", scale="laptop", size=3)


def test_a_chapter_that_was_not_run_has_no_record(small_chapter):
    with pytest.raises(ValueError, match=r"03_small\.ipynb holds no record; end it with run\.summary\(\)"):
        chapters.read_record(small_chapter)


def test_chapters_come_in_order_and_other_notebooks_do_not_count(house):
    for name in ("10_b", "02_a", "scratch", "2_c"):
        (house / "notebooks" / f"{name}.ipynb").touch()
    assert [path.stem for path in chapters.chapters()] == ["02_a", "10_b"]


@pytest.mark.parametrize("number", ["7", "07", "07_contrastive"])
def test_a_chapter_is_found_by_number_or_name(number, house):
    for name in ("00_start", "07_contrastive", "17_speech"):
        (house / "notebooks" / f"{name}.ipynb").touch()
    assert chapters.find(number).stem == "07_contrastive"


@pytest.mark.parametrize("number", ["8", "contrastive", "070", "7_contrastive"])
def test_a_chapter_that_is_not_there_is_refused_with_those_that_are(number, house):
    (house / "notebooks" / "07_contrastive.ipynb").touch()
    with pytest.raises(ValueError, match=f"no chapter '{number}'; there are 07_contrastive"):
        chapters.find(number)


def record() -> Record:
    """The record of a chapter at laptop scale."""
    return {
        "scale": "laptop",
        "seed": 0,
        "device": "cpu",
        "hardware": "CPU with 2 threads, float32",
        "weights": {"minilm": "hub cache"},
        "claims": [{"sentence": "It learns", "holds": True, "evidence": "0.9 against 0.5", "headline": True}],
        "metrics": [
            {"name": "accuracy", "value": 0.9, "low": 0.8, "high": 1.0, "tolerance": 0.02},
            {"name": "rows a second", "value": 100.0, "low": None, "high": None, "tolerance": None},
        ],
        "stages": {"features": 1.0, "training": 2.0},
        "seconds": 90.0,
    }


def put(*keys: str | int, value: object) -> Callable[[dict], None]:
    """A change of one value in a nested record."""

    def change(changed: dict) -> None:
        inner = changed
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


DIFFERENT = {
    "another sentence": (put("claims", 0, "sentence", value="It flies"), "claims: ['It flies'] in this run"),
    "a claim less": (lambda r: r["claims"].clear(), "claims: [] in this run, ['It learns'] in the committed one"),
    "another metric": (put("metrics", 0, "name", value="recall"), "metrics: ['recall', 'rows a second'] in this run"),
    "a metric less": (lambda r: r["metrics"].pop(), "metrics: ['accuracy'] in this run"),
    "a stage less": (lambda r: r["stages"].pop("training"), "stages: ['features'] in this run"),
    "other weights": (put("weights", value={}), "weights: [] in this run, ['minilm'] in the committed one"),
    "another device": (put("device", value="cuda"), "device: cuda in this run, cpu in the committed one"),
}
OTHER_NUMBERS = {
    "a claim that fails": (put("claims", 0, "holds", value=False), "claim does not hold: It learns (0.9 against 0.5)"),
    "a number above": (put("metrics", 0, "value", value=0.93), "accuracy: 0.9300, committed 0.9000 ± 0.02"),
    "a number below": (put("metrics", 0, "value", value=0.87), "accuracy: 0.8700, committed 0.9000 ± 0.02"),
}
NO_MATTER = {
    "nothing": lambda r: None,
    "within tolerance": put("metrics", 0, "value", value=0.885),
    "no tolerance": put("metrics", 1, "value", value=1.0),
    "where the weights lay": put("weights", "minilm", value="package index"),
    "how long a stage took": put("stages", "training", value=60.0),
    "in all": put("seconds", value=5.0),
}


@pytest.mark.parametrize("numbers", [True, False], ids=["with numbers", "without numbers"])
@pytest.mark.parametrize(("change", "message"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_a_difference_in_kind_is_found_at_every_scale(change, message, numbers):
    change(fresh := record())
    (found,) = differences(fresh, record(), numbers=numbers)
    assert found.startswith(message)


@pytest.mark.parametrize(("change", "message"), OTHER_NUMBERS.values(), ids=OTHER_NUMBERS.keys())
def test_a_difference_in_numbers_is_found_where_they_count(change, message):
    change(fresh := record())
    assert differences(fresh, record(), numbers=True) == [message]
    assert differences(fresh, record(), numbers=False) == []


@pytest.mark.parametrize("change", NO_MATTER.values(), ids=NO_MATTER.keys())
def test_what_may_differ_between_machines_is_no_difference(change):
    change(fresh := record())
    assert differences(fresh, record(), numbers=True) == []


@pytest.fixture(scope="module")
def over_seeds(small_chapter, tmp_path_factory) -> Record:
    """The record of the small chapter over two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chapters, "RECORDS", tmp_path_factory.mktemp("records"))
        path = chapters.record_seeds(small_chapter, seeds=2)
        assert [file.name for file in chapters.RECORDS.iterdir()] == ["03_small.json"]
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_record_over_seeds_holds_every_claim_and_number_of_each(over_seeds):
    assert (over_seeds["chapter"], over_seeds["scale"], over_seeds["seeds"]) == ("03_small", "laptop", [0, 1])
    assert over_seeds["claims"] == [{"sentence": "Two and two make four", "holds": [True, True]}]
    (metric,) = over_seeds["metrics"]
    assert (metric["name"], metric["values"], metric["mean"]) == ("the double", [4.0, 5.0], 4.5)
    margin = 12.706204736 * 0.5  # t(0.975) with one degree of freedom; 0.5 is the standard error of 4 and 5
    assert (metric["low"], metric["high"]) == pytest.approx((4.5 - margin, 4.5 + margin))


def test_one_seed_gives_an_interval_of_no_width():
    metric = chapters._over_seeds("accuracy", [0.5])
    assert (metric["low"], metric["mean"], metric["high"]) == (0.5, 0.5, 0.5)
    assert not math.isnan(metric["high"])


def seeds() -> Record:
    """A record over two seeds that fits `record`."""
    return {
        "claims": [{"sentence": "It learns", "holds": [True, True]}],
        "metrics": [{"name": "accuracy", "values": [0.9, 0.8]}, {"name": "rows a second", "values": [10.0, 20.0]}],
    }


STALE = {
    "another sentence": (put("claims", 0, "sentence", value="It flies"), ["the claims have changed"]),
    "a claim that failed": (put("claims", 0, "holds", 1, value=False), ["seed 1: It learns"]),
    "a metric less": (lambda r: r["metrics"].pop(), ["rows a second is not recorded"]),
    "a metric more": (
        lambda r: r["metrics"].append({"name": "recall", "values": [1.0, 1.0]}),
        ["recall is recorded but no longer measured"],
    ),
    "another number": (put("metrics", 0, "values", 0, value=0.85), ["accuracy: 0.8500 recorded, 0.9000 committed"]),
}


@pytest.mark.parametrize(("change", "found"), STALE.values(), ids=STALE.keys())
def test_a_stale_record_over_seeds_is_found(change, found):
    change(recorded := copy.deepcopy(seeds()))
    assert stale(recorded, record()) == found


def test_a_record_over_seeds_that_fits_is_not_stale(over_seeds, executed):
    assert stale(seeds(), record()) == []
    assert stale(over_seeds, executed[0] | {"seed": 1, "metrics": []}) != []
    committed = copy.deepcopy(executed[0]) | {"seed": 1}
    committed["metrics"][0]["value"] = 5.0
    assert stale(over_seeds, committed) == []


def committed(folder: Path, name: str, claims: list[dict]) -> None:
    """Write an executed chapter with a record."""
    output = nbformat.v4.new_output("display_data", {chapters.RECORD_TYPE: record() | {"claims": claims}})
    cells = [nbformat.v4.new_markdown_cell(f"# Chapter {name}\nText."), nbformat.v4.new_code_cell("", outputs=[output])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")


CLAIMS = [
    {"sentence": "A side", "holds": True, "evidence": "1", "headline": False},
    {"sentence": "It learns", "holds": True, "evidence": "|x| is 0.9", "headline": True},
]


def test_the_table_quotes_the_headline_claim_and_the_minutes_of_every_chapter(tmp_path):
    committed(tmp_path, "02_b", CLAIMS)
    committed(tmp_path, "01_a", CLAIMS)
    _, _, first, second = chapters.table(tmp_path).split("\n")
    assert first == r"| [Chapter 01_a](notebooks/01_a.ipynb) | It learns: \|x\| is 0.9 | 1.5 |"
    assert second.startswith("| [Chapter 02_b](notebooks/02_b.ipynb) |")


@pytest.mark.parametrize("claims", [CLAIMS[:1], CLAIMS[1:] * 2], ids=["none", "two"])
def test_a_chapter_without_exactly_one_headline_claim_has_no_row(claims, tmp_path):
    committed(tmp_path, "01_a", claims)
    with pytest.raises(ValueError, match=r"01_a\.ipynb has [02] headline claims; expected one"):
        chapters.table(tmp_path)


def test_the_table_stands_between_its_marks_and_is_replaced_whole():
    readme = f"before\n{TABLE_START}\nold\nolder\n{TABLE_END}\nafter\n"
    once = chapters.with_table(readme, r"| \1 new |")
    assert once == f"before\n{TABLE_START}\n| \\1 new |\n{TABLE_END}\nafter\n"
    assert chapters.with_table(once, r"| \1 new |") == once


@pytest.mark.parametrize("readme", ["", TABLE_START, f"{TABLE_END}\n{TABLE_START}\n"])
def test_a_readme_without_the_marks_is_refused(readme):
    with pytest.raises(ValueError, match=r"README\.md lacks the lines"):
        chapters.with_table(readme, "table")


def test_a_working_copy_is_made_once_and_never_overwritten(small_chapter, house):
    (target,) = chapters.work_on(small_chapter)
    assert target == house / "work" / "03_small.ipynb"
    assert target.read_bytes() == small_chapter.read_bytes()
    target.write_text("my work")
    with pytest.raises(FileExistsError, match=r"work/03_small\.ipynb is there already; rename or delete"):
        chapters.work_on(small_chapter)
    assert target.read_text() == "my work"
