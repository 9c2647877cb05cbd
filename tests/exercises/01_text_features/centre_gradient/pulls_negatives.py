"""negatives are pushed away: their part has the sign of σ, not of −σ"""


def centre_gradient(centre, context, negatives, k):
    true = (centre * context).sum(dim=1, keepdim=True).sigmoid() - 1
    false = k / len(negatives) * (centre @ negatives.T).sigmoid()
    return (true * context - false @ negatives) / len(centre)
