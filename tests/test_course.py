"""A run is seeded, honest about what it claims, and leaves a record; files are written whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import random
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import mmcook
from mmcook import course
from mmcook.course import CLAIM_TYPE, RECORD_TYPE, ClaimError, Run, fast_precision, write_atomically

CPU = torch.device("cpu")


def run(scale: str = "laptop") -> Run:
    """A run without the seeding."""
    return Run(scale, 0, CPU, torch.float32)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """An IPython shell, which a notebook's kernel is too."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    quiet = Config({"HistoryManager": {"enabled": False}})
    yield InteractiveShell.instance(config=quiet, user_module=types.ModuleType("chapter"))
    InteractiveShell.clear_instance()


def test_an_unknown_room_is_refused_with_the_names_of_the_known():
    with pytest.raises(AttributeError, match=r"no room 'cellar'.*alignment.*vision"):
        mmcook.cellar  # noqa: B018
    assert mmcook.metrics.__name__ == "mmcook.metrics"


@pytest.mark.parametrize("scale", ["Laptop", "", "huge", None])
def test_an_unknown_scale_is_refused(scale):
    with pytest.raises(ValueError, match=r"scale is .*expected one of 'smoke', 'laptop', 'gpu'"):
        mmcook.start(scale)


@pytest.mark.parametrize("seed", [-1, 1.0, "0", True, None])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ValueError, match="expected a whole number from 0"):
        mmcook.start("smoke", seed)


def test_two_starts_with_one_seed_draw_the_same_numbers_and_another_seed_draws_others(capsys):
    def draws(seed):
        mmcook.start("smoke", seed)
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    first, again, other = draws(7), draws(7), draws(8)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert capsys.readouterr().out.count("\n") == 3  # one quiet line a start


def test_start_fixes_the_threads_and_picks_device_and_precision():
    torch.set_num_threads(1)
    started = mmcook.start("laptop", 0)
    assert torch.get_num_threads() == course.THREADS
    assert started.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert started.precision == fast_precision(started.device)


@pytest.mark.parametrize(("scale", "expected"), [("smoke", 3), ("laptop", 400), ("gpu", 20_000)])
def test_pick_takes_the_value_of_the_scale(scale, expected):
    assert run(scale).pick(smoke=3, laptop=400, gpu=20_000) == expected


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX is of x86 processors")
def test_precision_is_float32_where_bfloat16_would_be_emulated(python):
    code = "import torch; from mmcook.course import fast_precision; print(fast_precision(torch.device('cpu')))"
    assert python(code, ONEDNN_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2").stdout == "torch.float32\n"


@pytest.mark.parametrize(("native", "precision"), [(True, torch.bfloat16), (False, torch.float32)])
def test_precision_of_an_accelerator_is_the_one_that_it_has(native, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native)
    assert fast_precision(torch.device("cuda")) == precision
    assert fast_precision(torch.device("meta")) == torch.float32


def test_hardware_names_the_accelerator_but_not_the_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A Card")
    assert Run("gpu", 0, torch.device("cuda"), torch.bfloat16).hardware == "A Card, bfloat16"
    assert run().hardware == f"CPU with {course.THREADS} threads, float32"


@pytest.mark.parametrize("scale", ["laptop", "gpu"])
def test_a_false_claim_stops_a_judged_run_and_stays_in_its_record(scale, capsys):
    judged = run(scale)
    judged.claim("Two exceeds one", 2 > 1, "2 against 1", headline=True)
    with pytest.raises(ClaimError, match=r"does not bear out: One exceeds two \(1 against 2\)"):
        judged.claim("One exceeds two", 1 > 2, "1 against 2")
    assert [claim["holds"] for claim in judged.claims] == [True, False]
    assert [claim["headline"] for claim in judged.claims] == [True, False]
    printed = capsys.readouterr().out
    assert "Claim holds: Two exceeds one (2 against 1)" in printed
    assert "Claim FAILS: One exceeds two (1 against 2)" in printed


def test_a_false_claim_at_smoke_scale_is_recorded_and_not_judged(capsys):
    smoke = run("smoke")
    smoke.claim("One exceeds two", 1 > 2, "1 against 2")
    assert smoke.claims == [
        {"sentence": "One exceeds two", "holds": False, "evidence": "1 against 2", "headline": False}
    ]
    assert "not judged at smoke scale" in capsys.readouterr().out


@pytest.mark.parametrize("holds", [True, np.bool_(True), np.array(True), torch.tensor(True), torch.tensor([True])])
def test_a_truth_value_of_any_library_is_accepted_and_recorded_as_a_plain_one(holds):
    plain = run()
    plain.claim("It is so", holds, "evidence")
    assert plain.claims[0]["holds"] is True


@pytest.mark.parametrize(
    "holds",
    [1, 0.7, "yes", None, [True], np.float64(0.7), np.array([True, True]), torch.tensor(0.7), torch.ones(2).bool()],
    ids=repr,
)
def test_what_is_no_truth_value_is_refused(holds):
    with pytest.raises(TypeError, match="expected the truth value of a comparison"):
        run("smoke").claim("It is so", holds, "evidence")


def test_a_metric_is_recorded_with_its_interval_and_tolerance():
    measured = run()
    measured.metric("accuracy", np.float32(0.5), (0.25, torch.tensor(0.75)))
    measured.metric("rows a second", 10, tolerance=math.inf)
    assert measured.metrics == [
        {"name": "accuracy", "value": 0.5, "low": 0.25, "high": 0.75, "tolerance": course.TOLERANCE},
        {"name": "rows a second", "value": 10.0, "low": None, "high": None, "tolerance": None},
    ]


def test_a_metric_cannot_be_recorded_twice():
    measured = run()
    measured.metric("accuracy", 0.5)
    with pytest.raises(ValueError, match="'accuracy' is already recorded"):
        measured.metric("accuracy", 0.6)


@pytest.mark.parametrize(("value", "interval"), [(math.nan, None), (math.inf, None), (0.5, (math.nan, 1.0))])
def test_a_number_that_is_not_finite_is_no_metric(value, interval):
    with pytest.raises(ValueError, match="expected finite numbers"):
        run().metric("accuracy", value, interval)


def test_stages_add_up_under_their_names(monkeypatch):
    clock = iter([10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(course.time, "perf_counter", lambda: next(clock))
    timed = run()
    for _ in range(2):
        with timed.stage("training"):
            pass
    assert timed.stages == {"training": 5.0}


def closed() -> Run:
    """A run with something of everything in it."""
    done = run()
    done.claim("Two & three make <five>", True, "5 > 4")
    done.metric("accuracy", 0.5, (0.25, 0.75))
    done.stages["training"] = 1.234
    return done


def test_the_record_says_where_the_run_was_what_it_claimed_and_what_it_cost():
    record = closed().record()
    assert (record["scale"], record["seed"], record["device"]) == ("laptop", 0, "cpu")
    assert record["versions"] == {"python": platform.python_version(), "torch": torch.__version__}
    assert [claim["sentence"] for claim in record["claims"]] == ["Two & three make <five>"]
    assert [metric["name"] for metric in record["metrics"]] == ["accuracy"]
    assert record["stages"] == {"training": 1.2}
    assert 0 <= record["seconds"] < 60
    assert 0.05 < record["peak_gib"] < 64
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_record_holds_no_path_of_the_machine_and_the_sources_of_its_weights(monkeypatch):
    from mmcook import hub

    monkeypatch.setattr(hub, "SOURCES", {"minilm": hub.WHEEL_COPY})
    record = closed().record()
    assert record["weights"] == {"minilm": "package index"}
    text = json.dumps(record)
    assert not re.search(r"""(^|[\s"'(])(/|~|[A-Z]:\\)\w""", text)
    assert platform.node() not in text


def test_the_record_of_a_run_without_weights_names_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "mmcook.hub", raising=False)
    assert run().record()["weights"] == {}


def test_summary_prints_claims_numbers_and_costs_and_writes_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MMCOOK_RECORDS", raising=False)
    monkeypatch.chdir(tmp_path)
    closed().summary()
    printed = capsys.readouterr().out
    assert "1 of 1 claims hold at laptop scale, seed 0." in printed
    assert "accuracy: 0.500 [0.250, 0.750]" in printed
    assert "GiB on CPU" in printed
    assert list(tmp_path.iterdir()) == []


def test_summary_writes_the_record_where_it_is_asked_to(tmp_path, monkeypatch):
    monkeypatch.setenv("MMCOOK_RECORDS", str(tmp_path / "records" / "00.json"))
    closed().summary()
    (written,) = (tmp_path / "records").iterdir()
    assert json.loads(written.read_text(encoding="utf-8"))["claims"] == closed().claims


def shown(shell, code: str) -> list[dict]:
    """What a cell displays in a notebook."""
    from IPython.utils.capture import capture_output

    shell.user_ns["run"] = closed()
    with capture_output() as captured:
        assert shell.run_cell(code).success
    return [output.data for output in captured.outputs]


def test_a_claim_in_a_notebook_carries_its_data_beside_its_text(shell):
    (output,) = shown(shell, "run.claim('Two exceeds one', 2 > 1, '2 against 1')")
    assert output[CLAIM_TYPE] == {
        "sentence": "Two exceeds one",
        "holds": True,
        "evidence": "2 against 1",
        "headline": False,
    }
    assert output["text/plain"] == "Claim holds: Two exceeds one (2 against 1)"


def test_the_summary_in_a_notebook_carries_its_record_and_a_table_with_its_text_escaped(shell, monkeypatch):
    monkeypatch.delenv("MMCOOK_RECORDS", raising=False)
    (output,) = shown(shell, "run.summary()")
    assert output[RECORD_TYPE]["metrics"][0]["value"] == 0.5
    assert "<td>Two &amp; three make &lt;five&gt;</td><td>5 &gt; 4</td>" in output["text/html"]
    assert "<td>accuracy</td><td>0.500 [0.250, 0.750]</td>" in output["text/html"]


def test_the_record_over_seeds_is_a_table_by_metric(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "REPOSITORY", tmp_path)
    metric = {"name": "accuracy", "mean": 0.5, "low": 0.4, "high": 0.6, "values": [0.4, 0.6]}
    write_atomically(tmp_path / "notebooks/records/03_small.json", json.dumps({"metrics": [metric]}))
    table = mmcook.recorded("03_small")
    assert table.loc["accuracy"].to_dict() == {key: metric[key] for key in ("mean", "low", "high", "values")}


def test_a_chapter_without_record_over_seeds_is_told_how_to_get_one():
    with pytest.raises(FileNotFoundError, match=r"no record of '99_nothing'.*mmcook seeds 99_nothing"):
        mmcook.recorded("99_nothing")


def test_a_file_is_written_with_its_folders_and_replaced_whole(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, "old")
    write_atomically(path, b"new\n")
    assert path.read_bytes() == b"new\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_no_half_written_one(small_disk):
    path = small_disk / "features.bin"
    write_atomically(path, b"old")
    with pytest.raises(
        OSError, match=r"features\.bin could not be written \(No space.*make room for 2\.0 MiB"
    ) as caught:
        write_atomically(path, bytes(2**21))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OSError, match=r"a.b\.txt could not be written.*see that .*a can be written"):
        write_atomically(tmp_path / "a" / "b.txt", "text")
    assert (tmp_path / "a").read_text() == "a file"


def test_a_write_that_is_stopped_at_the_last_moment_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Permission denied"):
        write_atomically(path, "new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]
