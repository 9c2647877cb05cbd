"""the object is shifted in both directions: the shared part is (s − d/2)²"""


def largest_stride(side, overlap):
    return 2 * side * (1 - overlap) / (1 + overlap)
