"""sum first, then divide: a picture that is nearly right pushes little and should count little"""


def hardest_shares(cosine, scales):
    pushes = [(s * cosine).softmax(dim=1).fill_diagonal_(0) for s in scales]
    return [(p.amax(dim=1) / p.sum(dim=1)).mean().item() for p in pushes]
