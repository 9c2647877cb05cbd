"""the right text is no negative: leave the diagonal out"""


def hardest_shares(cosine, scales):
    probabilities = [(s * cosine).softmax(dim=1) for s in scales]
    return [(p.max(dim=1).values.sum() / p.sum()).item() for p in probabilities]
