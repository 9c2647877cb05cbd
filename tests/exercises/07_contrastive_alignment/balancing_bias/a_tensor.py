"""case 1 of 3: what balancing_bias returns is of type torch.Tensor; expected float"""

import torch


def balancing_bias(batch, scale, cosine):
    return -torch.tensor(batch - 1.0).log() - scale * cosine
