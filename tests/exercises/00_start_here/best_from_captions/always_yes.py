"""where right captions are rare, a plain one is more likely wrong, and the best guess is no"""


def best_from_captions(p, q):
    return p + (1 - p) * (1 - q)
