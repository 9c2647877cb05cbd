"""the caption is left out: both models see it, so condition on it"""

import torch


def picture_gain(joint):
    table = joint.sum(dim=0)
    entropy = torch.special.entr
    return entropy(table.sum(1)).sum() + entropy(table.sum(0)).sum() - entropy(table).sum()
