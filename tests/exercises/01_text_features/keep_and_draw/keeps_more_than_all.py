"""a probability to keep is at most 1"""


def keep_and_draw(counts, threshold):
    share = counts / counts.sum()
    weights = share**0.75
    return (threshold / share).sqrt() + threshold / share, weights / weights.sum()
