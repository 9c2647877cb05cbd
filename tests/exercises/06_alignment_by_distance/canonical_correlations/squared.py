"""these are the squares of the correlations"""

import torch


def canonical_correlations(x, y):
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    s11, s22, s12 = x.T @ x, y.T @ y, x.T @ y
    product = torch.linalg.inv(s11) @ s12 @ torch.linalg.inv(s22) @ s12.T
    return torch.linalg.eigvals(product).real.sort(descending=True).values[: min(x.shape[1], y.shape[1])]
