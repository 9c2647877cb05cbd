"""the probabilities to draw do not add up to one"""


def keep_and_draw(counts, threshold):
    share = counts / counts.sum()
    keep = ((threshold / share).sqrt() + threshold / share).clamp(max=1)
    return keep, share**0.75
