"""p is a share of the text, not a count"""


def keep_and_draw(counts, threshold):
    keep = ((threshold / counts).sqrt() + threshold / counts).clamp(max=1)
    weights = counts**0.75
    return keep, weights / weights.sum()
