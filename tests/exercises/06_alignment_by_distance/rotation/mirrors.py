"""this is a mirror, its determinant is −1"""

import torch


def rotation(x, y):
    a, _, b = torch.linalg.svd(x.T @ y)
    return a @ b
