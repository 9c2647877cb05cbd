"""the loss is a mean over pairs: divide by B"""


def centre_gradient(centre, context, negatives, k):
    true = (centre * context).sum(dim=1, keepdim=True).sigmoid() - 1
    return true * context + k / len(negatives) * (centre @ negatives.T).sigmoid() @ negatives
