"""rank the numbers first; this is Pearson's correlation of the numbers themselves"""

import torch


def spearman(a, b):
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])
