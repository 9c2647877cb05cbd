"""this holds for p = ½ only: weigh right and wrong captions by p and 1 − p"""


def best_from_captions(p, q):
    return 1 - q / 2
