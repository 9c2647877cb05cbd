"""Recordings become features that depend on their own sound alone, as Whisper itself hears it."""

from __future__ import annotations

import struct

import pytest
import torch
from transformers import AutoModel, WhisperFeatureExtractor, WhisperForConditionalGeneration

from mmcook import audio, datasets, hub

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips() -> list[torch.Tensor]:
    """Four spoken French sentences of different lengths."""
    stamps = datasets.stamps()
    names = ["food/fruit/apricot", "food/fruit/pear", "clothes/hats/sombrero", "household/tools/saw"]
    return [stamps.speech("fr", stamps.names.index(name)) for name in names]


@pytest.fixture(scope="module")
def features(clips, tmp_path_factory) -> torch.Tensor:
    """Their features, freshly computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCOOK_FEATURES", str(tmp_path_factory.mktemp("features")))
        return audio.frozen_features(clips, device=CPU)


def test_features_are_rows_on_the_cpu(features, clips):
    assert (features.shape, features.dtype) == ((len(clips), 384), torch.float32)
    assert features.isfinite().all()


def test_a_clip_of_thirty_seconds_is_heard_as_whisper_hears_it(no_features):
    clip = torch.randn(30 * audio.RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    folder = hub.pretrained("whisper-tiny.en")
    mel = WhisperFeatureExtractor()(clip.numpy(), sampling_rate=audio.RATE, return_tensors="pt").input_features
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).encoder.eval()(mel).last_hidden_state[0]
    torch.testing.assert_close(audio.frozen_features([clip], device=CPU)[0], states.mean(dim=0), atol=1e-4, rtol=0)
    halves = audio.frozen_features([clip], device=CPU, parts=2)[0]
    torch.testing.assert_close(halves, states.view(2, 750, 384).mean(dim=1).flatten(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_size_and_the_order_do_not_change_features(batch, features, clips, no_features):
    turned = audio.frozen_features(clips[::-1], device=CPU, batch=batch)
    torch.testing.assert_close(turned.flip(0), features, atol=1e-4, rtol=0)


def test_states_of_the_silence_that_fills_a_clip_up_are_not_averaged(features, clips, no_features, monkeypatch):
    lengths = {-(-len(clip) // audio.RATE) * audio.RATE - len(clip) for clip in clips}
    assert max(lengths) > audio.STRIDE  # some silence is added
    seen = audio._states
    spoil = torch.zeros(1)

    def spoilt(encoder, mel, block):
        states = seen(encoder, mel, block).clone()
        real = -(-len(clips[0]) // audio.STRIDE)
        states[:, real:] = 1e3
        spoil.add_(states.shape[1] - real)
        return states

    monkeypatch.setattr(audio, "_states", spoilt)
    torch.testing.assert_close(audio.frozen_features(clips[:1], device=CPU), features[:1], atol=1e-4, rtol=0)
    assert spoil.item() > 0


def test_parts_average_to_the_whole_and_blocks_differ(clips, no_features):
    whole, parts = (audio.frozen_features(clips, device=CPU, block=3, parts=p) for p in (1, 3))
    assert parts.shape == (len(clips), 3 * 384)
    torch.testing.assert_close(parts.view(-1, 3, 384).mean(dim=1), whole, atol=0.1, rtol=0)  # parts overlap by a state
    assert (whole - audio.frozen_features(clips, device=CPU, block=4)).abs().max() > 0.1


def test_features_are_computed_once_and_come_back_to_the_bit(clips, no_features, monkeypatch):
    first = audio.frozen_features(clips[:1], device=CPU)
    monkeypatch.setattr(audio, "_encode", None)
    assert torch.equal(audio.frozen_features(clips[:1], device=CPU), first)


def test_two_clips_that_are_cut_elsewhere_are_other_clips(clips, no_features):
    (clip,) = clips[:1]
    cuts = [audio.frozen_features(list(clip.split([n, len(clip) - n])), device=CPU) for n in (4000, 6000)]
    assert (cuts[0] - cuts[1]).abs().max() > 0.01


def test_fresh_features_can_be_trained_on_and_one_sample_is_a_clip(no_features):
    torch.nn.Linear(384, 1)(audio.frozen_features([torch.zeros(1)], device=CPU)).sum().backward()


@pytest.mark.parametrize(
    "bad",
    [[], [torch.zeros(0)], [torch.zeros(2, 9)], [torch.zeros(30 * audio.RATE + 1)]],
    ids=["none", "empty", "2", "long"],
)
def test_what_is_no_clip_is_refused(bad):
    with pytest.raises(ValueError, match="expected one or more vectors of 1 to 480000"):
        audio.frozen_features(bad, device=CPU)


@pytest.mark.parametrize(("block", "parts"), [(0, 1), (5, 1), (4, 0)])
def test_an_unknown_block_and_no_parts_are_refused(block, parts):
    with pytest.raises(ValueError, match=f"block is {block} and parts is {parts}; expected 1 to 4, and 1 or more"):
        audio.frozen_features([torch.zeros(9)], device=CPU, block=block, parts=parts)


def test_the_weights_fill_the_whole_model_and_nothing_is_left_over():
    folder = hub.pretrained("whisper-tiny.en")
    model, info = WhisperForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(model.proj_out.weight, model.model.decoder.embed_tokens.weight)


def test_a_file_of_ctranslate2_is_read_tensor_by_tensor_and_settings_are_passed_over():
    def text(word):
        return struct.pack("<H", len(word) + 1) + word.encode() + b"\0"

    weight = torch.tensor([[1.0, -2.0, 0.5]]).half()
    content = struct.pack("<I", 6) + text("Spec") + struct.pack("<II", 3, 2)
    content += text("heads") + struct.pack("<BBI", 0, 2, 2) + b"\6\0"
    content += text("a/weight") + struct.pack("<BIIBI", 2, 1, 3, 4, 6) + weight.numpy().tobytes()
    (name, tensor), *rest = hub._read_ctranslate2(content).items()
    assert (name, rest) == ("a/weight", [])
    assert torch.equal(tensor, weight.float())
