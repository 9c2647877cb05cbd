"""the negatives are not drawn as often as the words occur: the power is left out"""

import math


def best_products(counts, k, power):
    joint = counts / counts.sum()
    pmi = (joint / (joint.sum(dim=1, keepdim=True) * joint.sum(dim=0))).log()
    return pmi - math.log(k)
