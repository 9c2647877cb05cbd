"""divide by the pairs that begin with v; the last token of the text begins none"""

import torch


def bigram(text, n_tokens, weights):
    counts = torch.zeros(n_tokens, n_tokens, dtype=torch.float64)
    for v, w in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
        counts[v, w] += 1
    once = torch.bincount(text, minlength=n_tokens).double()
    unigram = once / len(text)
    pairs = torch.where(once[:, None] > 0, counts / once[:, None].clamp(min=1), unigram)
    return weights[0] * pairs + weights[1] * unigram + weights[2] / n_tokens
