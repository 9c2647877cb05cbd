"""the mean over the S negatives weighs k: divide by S"""


def centre_gradient(centre, context, negatives, k):
    true = (centre * context).sum(dim=1, keepdim=True).sigmoid() - 1
    return (true * context + k * (centre @ negatives.T).sigmoid() @ negatives) / len(centre)
