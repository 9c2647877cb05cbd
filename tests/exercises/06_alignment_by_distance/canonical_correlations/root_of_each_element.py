"""the root of each element is no matrix root"""

import torch


def canonical_correlations(x, y):
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    s11, s22, s12 = x.T @ x / len(x), y.T @ y / len(y), x.T @ y / len(x)
    return torch.linalg.svdvals(torch.linalg.inv(s11.sqrt()) @ s12 @ torch.linalg.inv(s22.sqrt()))
