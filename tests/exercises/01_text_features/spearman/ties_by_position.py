"""equal numbers share the mean of their ranks: yours get different ones"""

import torch


def spearman(a, b):
    x, y = (v.argsort(stable=True).argsort().double() for v in (a, b))
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])
