"""Texts become features that mean something, numbers that can be read back, and embeddings that ignore padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcook import text
from mmcook.pretraining import IGNORED
from mmcook.text import TextEncoder, Vocabulary

CPU = torch.device("cpu")
SENTENCES = [
    "kitten",
    "cat",
    "car",
    "A plate of spaghetti",
    "Italian pasta dish",
    "The stock market fell sharply today",
]


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> torch.Tensor:
    """Features of the sentences, freshly computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCOOK_FEATURES", str(tmp_path_factory.mktemp("features")))
        return text.frozen_features(SENTENCES, device=CPU)


def test_features_are_rows_of_length_one_on_the_cpu(features):
    assert (features.shape, features.dtype) == ((len(SENTENCES), 384), torch.float32)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(SENTENCES)))


def test_the_pretrained_model_knows_what_words_mean(features):
    kitten, cat, car, spaghetti, pasta, stocks = features
    assert kitten @ cat > 0.7 > 0.5 > kitten @ car
    assert spaghetti @ pasta > 0.6 > 0.3 > spaghetti @ stocks


def test_features_agree_with_the_model_run_by_hand_on_one_text(features):
    from transformers import AutoModel, AutoTokenizer

    from mmcook import hub

    folder = hub.pretrained("minilm")
    tokens = AutoTokenizer.from_pretrained(folder)(SENTENCES[3], return_tensors="pt")
    with torch.no_grad():
        state = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state.mean(dim=1)[0]
    torch.testing.assert_close(features[3], state / state.norm(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_batch_size_and_the_order_do_not_change_features(batch, features, no_features):
    turned = text.frozen_features(SENTENCES[::-1], device=CPU, batch=batch)
    torch.testing.assert_close(turned.flip(0), features, atol=1e-5, rtol=0)


def test_features_are_computed_once_and_come_back_to_the_bit(no_features, monkeypatch):
    first = text.frozen_features(["cat"], device=CPU)
    monkeypatch.setattr(text, "_encode", None)
    assert torch.equal(text.frozen_features(["cat"], device=CPU), first)


def test_fresh_features_can_be_trained_on(no_features):
    torch.nn.Linear(384, 1)(text.frozen_features(["cat"], device=CPU)).sum().backward()


@pytest.mark.parametrize("texts", [[], [""], ["cat", ""]])
def test_empty_texts_are_refused(texts):
    with pytest.raises(ValueError, match="expected at least one text with something in it"):
        text.frozen_features(texts, device=CPU)


def test_a_vocabulary_numbers_tokens_and_keeps_0_for_padding_and_1_for_the_unknown():
    words = Vocabulary([["red", "fox"], ["red", "car"]])
    assert words.tokens == ["<pad>", "<unk>", "car", "fox", "red"]
    assert len(words) == 5
    assert words.encode([["red", "fox", "red"], ["blue"]]).tolist() == [[4, 3, 4], [1, 0, 0]]


def test_a_string_is_read_by_its_characters():
    assert Vocabulary(["ab", "b"]).encode(["ba", "c"]).tolist() == [[3, 2], [1, 0]]


def test_rare_tokens_are_unknown():
    words = Vocabulary(["aab", "c"], minimum=2)
    assert words.encode(["abc"]).tolist() == [[2, 1, 1]]


def test_the_numbers_do_not_depend_on_the_order_of_the_texts():
    assert Vocabulary(["fox", "cat"]).ids == Vocabulary(["cat", "fox"]).ids


@pytest.mark.parametrize("texts", [[], [""], ["", []]])
def test_nothing_cannot_be_encoded(texts):
    with pytest.raises(ValueError, match="texts hold no token"):
        Vocabulary(["abc"]).encode(texts)


@pytest.fixture
def encoder() -> TextEncoder:
    """A small encoder, not in training."""
    torch.manual_seed(0)
    return TextEncoder(20, 8, width=16, length=6).eval()


@pytest.mark.parametrize("batch", [1, 3])
def test_an_encoder_embeds_a_batch_of_any_size(batch, encoder):
    assert encoder(torch.randint(1, 20, (batch, 5))).shape == (batch, 8)


@pytest.mark.parametrize("gradients", [True, False])
def test_padding_does_not_change_an_embedding(gradients, encoder):
    tokens = torch.randint(1, 20, (3, 4))
    with torch.set_grad_enabled(gradients):
        padded = encoder(torch.cat([tokens, torch.zeros(3, 2).long()], dim=1))
        torch.testing.assert_close(padded, encoder(tokens))


@pytest.mark.parametrize("gradients", [True, False])
def test_a_text_of_padding_alone_has_a_finite_embedding_and_leaves_the_others(gradients, encoder):
    tokens = torch.tensor([[3, 4, 5], [0, 0, 0]])
    with torch.set_grad_enabled(gradients):
        out = encoder(tokens)
        torch.testing.assert_close(out[1], encoder.project.bias)
        torch.testing.assert_close(out[:1], encoder(tokens[:1]))


def test_a_text_of_padding_alone_leaves_gradients_finite(encoder):
    encoder.train()(torch.tensor([[3, 4], [0, 0]])).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_the_order_of_tokens_matters_and_what_is_too_long_is_cut(encoder):
    tokens = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 9]])
    assert not torch.allclose(encoder(tokens[:, :6]), encoder(tokens[:, :6].flip(1)), atol=1e-3)
    torch.testing.assert_close(encoder(tokens), encoder(tokens[:, :6]))


def test_every_parameter_of_a_text_encoder_receives_a_gradient(encoder):
    encoder.train()(torch.randint(1, 20, (4, 6))).square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_saved_text_encoder_comes_back_equal(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    again = TextEncoder.from_pretrained(tmp_path).eval()
    tokens = torch.randint(1, 20, (2, 6))
    assert torch.equal(again(tokens), encoder(tokens))
    assert {path.suffix for path in tmp_path.iterdir()} <= {".safetensors", ".json", ".md"}


def test_an_encoder_works_under_autocast(encoder):
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(torch.tensor([[3, 4], [5, 0]])).isfinite().all()


SPECIAL, MASK, N = [0, 1, 4], 4, 40


def corrupted(tokens, rate=0.15, seed=0):
    """The tokens as the model sees them, and the targets."""
    generator = torch.Generator().manual_seed(seed)
    return text.mask_tokens(tokens, mask_id=MASK, n_tokens=N, special_ids=SPECIAL, rate=rate, generator=generator)


@pytest.fixture(scope="module")
def many() -> torch.Tensor:
    """Many tokens, special ones among them."""
    return torch.randint(N, (400, 500), generator=torch.Generator().manual_seed(1))


def fates(tokens, seen, targets):
    """How many chosen tokens became the mask, another token, or stayed."""
    chosen = targets != IGNORED
    masked = (seen == MASK) & chosen
    stayed = (seen == tokens) & chosen
    return [int(masked.sum()), int((chosen & ~masked & ~stayed).sum()), int(stayed.sum())]


def test_masking_obeys_80_10_10_and_so_does_transformers(many):
    from scipy.stats import chisquare
    from transformers import BertTokenizer, DataCollatorForLanguageModeling

    n = N - len(SPECIAL)
    share = [0.8, 0.1 * (1 - 1 / n), 0.1 + 0.1 / n]  # a random token may be the same one
    ours = fates(many, *corrupted(many))
    assert chisquare(ours, [s * sum(ours) for s in share]).pvalue > 0.001
    words = {word: i for i, word in enumerate(["[PAD]", "[CLS]", *"abcdefghij"])} | {
        "[MASK]": 12,
        "[SEP]": 13,
        "[UNK]": 14,
    }
    collator = DataCollatorForLanguageModeling(BertTokenizer(vocab=words), mlm_probability=0.15, seed=0)
    theirs_in = torch.randint(2, 12, (400, 500), generator=torch.Generator().manual_seed(1))
    theirs = collator([{"input_ids": row} for row in theirs_in])
    masked = (theirs["input_ids"] == 12).sum()
    chosen = (theirs["labels"] != IGNORED).sum()
    assert abs(float(masked / chosen) - ours[0] / sum(ours)) < 0.01
    assert abs(float(chosen / theirs_in.numel()) - 0.15) < 0.005


def test_the_rate_is_that_of_ordinary_tokens_and_special_ones_are_never_touched(many):
    seen, targets = corrupted(many)
    special = torch.isin(many, torch.tensor(SPECIAL))
    assert torch.equal(seen[special], many[special])
    assert (targets[special] == IGNORED).all()
    assert float((targets[~special] != IGNORED).float().mean()) == pytest.approx(0.15, abs=0.003)
    put_in = seen[(seen != many) & (seen != MASK)]
    assert not torch.isin(put_in, torch.tensor(SPECIAL)).any()
    assert len(put_in.unique()) == N - len(SPECIAL)  # every ordinary token is put in somewhere


def test_only_chosen_tokens_change_and_targets_are_the_true_ones(many):
    seen, targets = corrupted(many)
    chosen = targets != IGNORED
    assert torch.equal(seen[~chosen], many[~chosen])
    assert torch.equal(targets[chosen], many[chosen])


def test_a_rate_of_one_chooses_every_ordinary_token_and_zero_none(many):
    ordinary = ~torch.isin(many, torch.tensor(SPECIAL))
    assert torch.equal(corrupted(many, rate=1)[1] != IGNORED, ordinary)
    seen, targets = corrupted(many, rate=0)
    assert torch.equal(seen, many)
    assert (targets == IGNORED).all()


def test_one_seed_gives_one_corruption_and_the_input_stays_as_it_was(many):
    before = many.clone()
    assert all(torch.equal(a, b) for a, b in zip(corrupted(many), corrupted(many), strict=True))
    assert not torch.equal(corrupted(many)[0], corrupted(many, seed=1)[0])
    assert torch.equal(many, before)
    assert corrupted(many[0])[0].shape == (500,)


def test_a_rate_beyond_one_and_ids_beyond_the_vocabulary_are_refused():
    with pytest.raises(ValueError, match=r"rate is 1\.5; expected a share between 0 and 1"):
        corrupted(torch.zeros(2, 3).long(), rate=1.5)
    with pytest.raises(ValueError, match="tokens lie between 0 and 40; expected 0 to 39"):
        corrupted(torch.tensor([0, 40]))
    with pytest.raises(ValueError, match="tokens lie between -100 and 3"):
        corrupted(torch.tensor([-100, 3]))
    assert corrupted(torch.zeros(0, 3).long())[0].shape == (0, 3)


def test_packed_rows_hold_every_text_whole_and_in_order():
    texts = [[5, 6, 7], [8], [9, 5, 6, 7], [5, 5], [6, 7, 8, 9, 5]]
    tokens, segments = text.pack(texts, 5)
    assert tokens.tolist() == [[5, 6, 7, 8, 0], [9, 5, 6, 7, 0], [5, 5, 0, 0, 0], [6, 7, 8, 9, 5]]
    assert segments.tolist() == [[1, 1, 1, 2, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]


def test_packing_gives_back_random_texts():
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(1, 90, (int(n),), generator=generator).tolist()
             for n in torch.randint(1, 13, (300,), generator=generator)]  # fmt: skip
    tokens, segments = text.pack(texts, 12)
    found = [row[number == k].tolist() for row, number in zip(tokens, segments, strict=True)
             for k in range(1, int(number.max()) + 1)]  # fmt: skip
    assert found == texts
    assert ((tokens == 0) == (segments == 0)).all()
    firsts = [len(ids) for ids in texts]
    fits = [int((row > 0).sum()) for row in tokens]  # the next text would not have fitted
    heads = np.cumsum([int(number.max()) for number in segments])
    assert all(used + firsts[head] > 12 for used, head in zip(fits, heads, strict=False) if head < len(texts))


@pytest.mark.parametrize("texts", [[], [[]], [[1, 2, 3, 4]], [[1], []]])
def test_texts_that_do_not_fit_a_row_are_refused(texts):
    with pytest.raises(ValueError, match="expected 1 to 3 in each"):
        text.pack(texts, 3)
