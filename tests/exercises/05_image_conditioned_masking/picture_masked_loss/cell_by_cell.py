"""each cell predicts on its own; take the mean of the scores before the softmax"""

import torch.nn.functional as F


def picture_masked_loss(text_scores, cell_scores, targets):
    losses = [
        F.cross_entropy((text_scores + cells).flatten(0, 1), targets.flatten()) for cells in cell_scores.unbind(1)
    ]
    return sum(losses) / len(losses)
