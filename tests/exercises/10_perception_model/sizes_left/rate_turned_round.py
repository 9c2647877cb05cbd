"""r is the chance that a modality is hidden, not that it is kept"""

from math import comb


def sizes_left(rate, modalities):
    chances = [comb(modalities, k) * rate**k * (1 - rate) ** (modalities - k) for k in range(1, modalities + 1)]
    return [chance / sum(chances) for chance in chances]
