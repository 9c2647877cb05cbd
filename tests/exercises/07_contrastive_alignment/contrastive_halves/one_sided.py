"""both halves are the pictures': the texts must look for their picture too"""

import torch
import torch.nn.functional as F


def contrastive_halves(image_emb, text_emb, scale):
    logits = scale * F.normalize(image_emb, dim=1) @ F.normalize(text_emb, dim=1).T
    return F.cross_entropy(logits, torch.arange(len(logits))).expand(2)
