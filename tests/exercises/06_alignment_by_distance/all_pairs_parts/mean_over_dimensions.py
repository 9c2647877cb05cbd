"""the spread adds up the dimensions; it is a mean over rows only"""

import torch


def all_pairs_parts(u, v):
    between = (u.mean(dim=0) - v.mean(dim=0)).square().mean()
    return torch.stack([between, *((x - x.mean(dim=0)).square().mean() for x in (u, v))])
