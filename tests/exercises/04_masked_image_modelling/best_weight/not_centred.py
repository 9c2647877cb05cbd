"""measure both from the grey guess"""


def best_weight(patches, nearest, grey, hidden_mask):
    true, near = patches[hidden_mask], nearest[hidden_mask]
    return ((near * true).sum() / near.square().sum()).item()
