"""the union holds both squares, less what they share"""


def largest_stride(side, overlap):
    return 2 * side * (1 - overlap**0.5)
