"""The committed chapters are clean, and the gate refuses each fault that it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hygiene
import pytest
import sample
from sample import cell

from mmcook.chapters import chapters

Notebook = dict[str, Any]


def edit(name: str, **values: object) -> Callable[[Notebook], None]:
    """A mutation that sets fields of a cell."""
    return lambda notebook: cell(notebook, name).update(values)


def replace(name: str, old: str, new: str) -> Callable[[Notebook], None]:
    """A mutation that changes a cell's source."""
    return lambda notebook: cell(notebook, name).update(source=cell(notebook, name)["source"].replace(old, new))


def output(name: str, added: dict[str, Any]) -> Callable[[Notebook], None]:
    """A mutation that adds an output to a cell."""
    return lambda notebook: cell(notebook, name)["outputs"].append(added)


def prose(source: str) -> Callable[[Notebook], None]:
    """A mutation that adds a Markdown cell."""
    return lambda notebook: notebook["cells"].append(sample.markdown("added", source))


def html(text: str) -> dict[str, Any]:
    """A shown piece of HTML."""
    return sample.show({"text/html": text})


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
SRC = f"data:image/png;base64,{sample.pixel()}"
MUTATIONS = {
    "not executed": (edit("claims", execution_count=None), "cell 6: execution count None, expected 4"),
    "out of order": (edit("figures", execution_count=9), "cell 5: execution count 9, expected 3"),
    "error": (output("start", ERROR), "cell 3: ends in an error"),
    "stderr": (output("start", sample.stream("hm", "stderr")), "cell 3: writes to stderr"),
    "warning": (output("start", sample.stream("x.py:1: UserWarning: old")), "cell 3: output shows 'Warning:'"),
    "logged warning": (output("start", sample.stream("WARNING root")), "cell 3: output shows 'WARNING'"),
    "traceback": (output("start", sample.stream("Traceback (most recent call last)")), "cell 3: output shows 'Trace"),
    "path in output": (output("start", sample.stream("saved /tmp/x")), "cell 3: names a path of a machine (/tmp/)"),
    "path in display": (output("start", html("in /Users/ann")), "cell 3: names a path of a machine (/Users/)"),
    "path in data": (output("start", sample.show({"a/b+json": {"at": "C:\\Users\\ann"}})), "machine (C:\\\\Users)"),
    "path in code": (replace("start", "run =", 'home = "/home/ann"\nrun ='), "cell 3: names a path of a machine"),
    "path in prose": (prose("Look into /work/x, /root/y"), "cell 8: names a path of a machine (/work/)"),
    "widget state": (lambda n: n["metadata"].update(widgets={}), "metadata: holds widget state"),
    "widget": (output("start", sample.show({hygiene.WIDGET_TYPE: {}})), "cell 3: output is a widget"),
    "no id": (lambda n: n["cells"][0].pop("id"), "cell 1: has no id of its own"),
    "one id twice": (edit("figures", id="claims"), "cell 6: has no id of its own"),
    "other kernel": (lambda n: n["metadata"]["kernelspec"].update(name="ir"), "metadata: kernelspec is 'ir'"),
    "no kernel": (lambda n: n["metadata"].clear(), "metadata: kernelspec is None"),
    "bare image": (output("start", sample.show({"image/png": "AAAA"})), "cell 3: a bare image has no alt text"),
    "no alt": (output("start", html(f"<img src='{SRC}'>")), "cell 3: alt text '' has under 20"),
    "short alt": (output("start", html(f"<img alt='a curve' src='{SRC}'>")), "cell 3: alt text 'a curve'"),
    "no alt in prose": (prose("![plot](plot.png)"), "cell 8: alt text 'plot' has under 20"),
    "remote figure": (output("start", html(f"<img alt='{sample.ALT}' src='https://a.b/c.png'>")), "lies outside"),
    "two figures": (lambda n: cell(n, "figures")["outputs"].pop(), "notebook: shows 2 figures"),
    "two claims": (replace("claims", 'run.claim("Two', '# run.claim("Two'), "notebook: makes 2 claims"),
    "no headline": (replace("claims", ", headline=True", ", headline=False"), "0 claims have headline=True"),
    "two headlines": (replace("claims", '2 against 1"', '2", headline=True'), "2 claims have headline=True"),
    "no parameters": (edit("settings", metadata={}), "0 code cells are tagged parameters"),
    "two parameter cells": (edit("start", metadata={"tags": ["parameters"]}), "2 code cells are tagged parameters"),
    "tuple of parameters": (replace("settings", "seed", "j, k = 0, 1\nseed"), "'j, k = 0, 1' is not a plain"),
    "computed parameter": (replace("settings", "seed", "k = len([])\nseed"), "'k = len([])' is not a plain"),
    "two on a line": (replace("settings", "seed", "j = 0; k = 1\nseed"), "'j = 0; k = 1' is not a plain"),
    "other scale": (replace("settings", "laptop", "gpu"), "cell 2: the parameters lack scale"),
    "no seed": (replace("settings", "seed = 0", ""), "cell 2: the parameters lack scale"),
    "no summary": (edit("summary", source="run"), "cell 7: the last code cell does not call run.summary()"),
    "no record": (edit("summary", outputs=[]), "cell 7: the last code cell shows no record"),
    "large file": (output("start", sample.stream("a" * hygiene.MAX_BYTES)), "bytes, at most 1,000,000"),
    "long prose": (prose("word " * 120), "cell 8: 120 words of prose, at most 119"),
    "long code": (replace("start", "run =", "\n" * 40 + "run ="), "cell 3: 43 lines of code, at most 40"),
    "empty heading": (replace("title", "# A", "# Before\n# A"), "cell 1: nothing stands under the heading 'Before'"),
    "empty end": (prose("## Summary"), "cell 8: nothing stands under the heading 'Summary'"),
    "heading without words": (prose("##\ntext"), "cell 8: a heading has no words"),
    "no glossary": (replace("title", "(glossary.md)", "(https://a.b/glossary.md)"), "no link to the glossary"),
    "cleared output": (replace("start", "run =", "clear_output()\nrun ="), "cell 3: uses clear_output"),
    "progress bar": (replace("start", "import mmcook", "import mmcook, tqdm"), "cell 3: uses tqdm"),
}


def write(notebook: Notebook, folder: Path) -> Path:
    """Write a notebook as JupyterLab would."""
    path = folder / "99_sample.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_committed_chapter_is_clean(path):
    assert hygiene.problems(path) == []


def test_clean_notebook_passes(tmp_path):
    assert hygiene.problems(write(sample.chapter(), tmp_path)) == []


@pytest.mark.parametrize("source", ["x", "# Title\n## Part\n```\n# comment\n```", "word " * 119, "$a b c$ " * 120])
def test_prose_within_the_rules_passes(source, tmp_path):
    notebook = sample.chapter()
    prose(source)(notebook)
    assert hygiene.problems(write(notebook, tmp_path)) == []


@pytest.mark.parametrize("text", ["emoji: warning, no entry", f"<i>{SRC}/tmp/</i>", "https://a.b/home/c", "../work/07"])
def test_harmless_output_passes(text, tmp_path):
    notebook = sample.chapter()
    output("start", html(text))(notebook)
    assert hygiene.problems(write(notebook, tmp_path)) == []


@pytest.mark.parametrize(("mutate", "message"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_fault_is_refused_and_named(mutate, message, tmp_path):
    notebook = sample.chapter()
    mutate(notebook)
    (problem,) = hygiene.problems(write(notebook, tmp_path))
    assert message in problem
    assert ";" in problem, "the message names no mend"


def test_every_rule_is_put_to_the_proof(tmp_path):
    refusing = set()
    for mutate, _ in MUTATIONS.values():
        notebook = sample.chapter()
        mutate(notebook)
        spoilt = hygiene.read(write(notebook, tmp_path))
        refusing |= {rule for rule in hygiene.RULES if list(rule(spoilt))}
    assert refusing == set(hygiene.RULES)


def test_command_fails_on_a_bad_notebook_and_names_it(tmp_path, capsys):
    notebook = sample.chapter()
    assert hygiene.main([str(write(notebook, tmp_path))]) == 0
    prose("tqdm")(notebook)
    assert hygiene.main([str(write(notebook, tmp_path))]) == 1
    assert "99_sample.ipynb: cell 8: uses tqdm" in capsys.readouterr().out
