"""the rate is forgotten above: of all tokens the share rate · swap is false"""


def trust(rate, hide, swap):
    return 1 - swap / (1 - rate * hide)
