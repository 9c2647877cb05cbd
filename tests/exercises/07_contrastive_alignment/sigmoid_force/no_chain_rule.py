"""the chain rule is missing: s stands in front of the cosine"""

import torch


def sigmoid_force(cosine, scale, bias):
    return (torch.sigmoid(scale * cosine + bias) - torch.eye(len(cosine))) / len(cosine)
