"""the cosine is left out: with all cosines at c the logit is s·c + b"""

import math


def balancing_bias(batch, scale, cosine):
    return math.log(1 / (batch - 1))
