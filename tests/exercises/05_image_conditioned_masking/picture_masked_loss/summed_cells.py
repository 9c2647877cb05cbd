"""the scores of the cells are added; take their mean"""

import torch.nn.functional as F


def picture_masked_loss(text_scores, cell_scores, targets):
    logits = text_scores + cell_scores.sum(1)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
