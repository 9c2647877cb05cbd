"""each picture has B − 1 wrong texts, not B"""

import math


def balancing_bias(batch, scale, cosine):
    return -math.log(batch) - scale * cosine
