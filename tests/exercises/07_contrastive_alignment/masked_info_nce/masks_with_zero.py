"""a masked logit of 0 still counts as e⁰ = 1 in the sum; use −∞"""

import torch
import torch.nn.functional as F


def masked_info_nce(cosine, same, scale):
    right = torch.arange(len(cosine))
    logits = scale * cosine * ~(same & ~torch.eye(len(cosine), dtype=torch.bool))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
