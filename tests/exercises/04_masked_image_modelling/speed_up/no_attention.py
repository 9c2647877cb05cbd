"""the attention is missing: two products of n × n by D"""

import math


def speed_up(k, ratio, encoder, decoder):
    def cost(n, dim, layers):
        return layers * n * 12 * dim * dim

    light = cost(k, *decoder)
    return (cost(k, *encoder) + light) / (cost(math.floor((1 - ratio) * k + 1e-9), *encoder) + light)
