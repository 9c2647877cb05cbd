"""after a token that begins no pair the weight of the bigram is lost; give it to the unigram"""

import torch


def bigram(text, n_tokens, weights):
    counts = torch.zeros(n_tokens, n_tokens, dtype=torch.float64)
    for v, w in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
        counts[v, w] += 1
    pairs = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    unigram = torch.bincount(text, minlength=n_tokens).double() / len(text)
    return weights[0] * pairs + weights[1] * unigram + weights[2] / n_tokens
