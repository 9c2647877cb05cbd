"""that is what each adds when it comes last"""

import torch


def shapley(scores):
    return torch.stack([scores[7] - scores[7 - bit] for bit in (4, 2, 1)])
