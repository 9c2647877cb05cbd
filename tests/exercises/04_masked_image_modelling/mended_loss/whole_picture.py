"""mean and variance are those of each patch, not of the picture"""

import torch


def mended_loss(predicted, patches, hidden_mask):
    variance, mean = torch.var_mean(patches, dim=(1, 2), keepdim=True)
    target = (patches - mean) / (variance + 1e-6).sqrt()
    return (predicted - target)[hidden_mask].square().mean()
