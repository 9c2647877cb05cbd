"""k is left out: more negatives make a pair less likely to be true"""

import torch


def best_products(counts, k, power):
    joint = counts / counts.sum()
    q = joint.sum(dim=0) ** power
    return torch.log(joint / joint.sum(dim=1, keepdim=True)) - torch.log(q / q.sum())
