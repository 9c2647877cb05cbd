"""average over all hidden patches, not first in each picture"""

import torch


def mended_loss(predicted, patches, hidden_mask):
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    error = (predicted - (patches - mean) / (variance + 1e-6).sqrt()).square().mean(dim=2)
    return ((error * hidden_mask).sum(dim=1) / hidden_mask.sum(dim=1)).mean()
