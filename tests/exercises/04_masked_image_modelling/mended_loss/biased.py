"""the variance is the unbiased one, with P − 1"""

import torch


def mended_loss(predicted, patches, hidden_mask):
    variance, mean = torch.var_mean(patches, dim=2, correction=0, keepdim=True)
    target = (patches - mean) / (variance + 1e-6).sqrt()
    return (predicted - target)[hidden_mask].square().mean()
