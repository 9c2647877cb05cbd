"""tokens that were chosen and kept are true as well"""


def trust(rate, hide, swap):
    return (1 - rate) / (1 - rate * hide)
