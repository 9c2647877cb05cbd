"""this is in bits; the course counts in nats"""

import torch


def picture_gain(joint):
    def entropy(table):
        return -torch.where(table > 0, table * table.clamp(min=1e-30).log2(), 0.0).sum()

    return entropy(joint.sum(2)) - entropy(joint.sum((1, 2))) - entropy(joint) + entropy(joint.sum(1))
