"""p(c) to a power no longer adds up to one: divide by the sum"""

import math


def best_products(counts, k, power):
    joint = counts / counts.sum()
    given = joint / joint.sum(dim=1, keepdim=True)
    return (given / joint.sum(dim=0) ** power).log() - math.log(k)
