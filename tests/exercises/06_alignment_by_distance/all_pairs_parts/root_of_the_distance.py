"""square the distance of the means"""

import torch


def all_pairs_parts(u, v):
    spreads = [(x - x.mean(dim=0)).square().sum(dim=1).mean() for x in (u, v)]
    return torch.stack([(u.mean(dim=0) - v.mean(dim=0)).norm(), *spreads])
