"""the decoder gets mask tokens at the hidden places: it never has fewer than K"""

import math


def speed_up(k, ratio, encoder, decoder):
    def cost(n):
        return sum(layers * (12 * n * dim**2 + 2 * n**2 * dim) for dim, layers in (encoder, decoder))

    return cost(k) / cost(math.floor((1 - ratio) * k + 1e-9))
