"""all micro-batches weigh alike; count their targets"""

import torch


def weights_of(labels):
    return torch.full((len(labels),), 1 / len(labels))
