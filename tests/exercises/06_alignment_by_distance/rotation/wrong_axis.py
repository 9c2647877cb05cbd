"""the sign must turn where it costs least, at the smallest singular value"""

import torch


def rotation(x, y):
    a, _, b = torch.linalg.svd(x.T @ y)
    flip = torch.ones(len(b), dtype=x.dtype)
    flip[0] = torch.linalg.det(a @ b).sign()
    return a @ torch.diag(flip) @ b
