"""several sets have the same size: count them"""


def sizes_left(rate, modalities):
    left = 1 - rate**modalities
    return [(1 - rate) ** k * rate ** (modalities - k) / left for k in range(1, modalities + 1)]
