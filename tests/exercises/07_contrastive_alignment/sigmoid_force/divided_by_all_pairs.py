"""the loss is divided by B, not by B²: a right pair keeps its weight in a large batch"""

import torch


def sigmoid_force(cosine, scale, bias):
    right = torch.eye(len(cosine))
    return scale * (torch.sigmoid(scale * cosine + bias) - right) / cosine.numel()
