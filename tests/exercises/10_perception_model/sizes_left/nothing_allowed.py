"""that is with nothing allowed: the chances add up to less than 1"""

from math import comb


def sizes_left(rate, modalities):
    m = modalities
    return [comb(m, k) * (1 - rate) ** k * rate ** (m - k) for k in range(1, m + 1)]
