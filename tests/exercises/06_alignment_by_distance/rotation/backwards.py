"""this turns y to x: transpose it, or begin with the decomposition of xᵀ y"""

import torch


def rotation(x, y):
    a, _, b = torch.linalg.svd(y.T @ x)
    flip = torch.ones(len(b), dtype=x.dtype)
    flip[-1] = torch.linalg.det(a @ b).sign()
    return a @ torch.diag(flip) @ b
