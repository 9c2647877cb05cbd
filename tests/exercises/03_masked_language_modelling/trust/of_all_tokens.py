"""divide by the share that is visible: hidden tokens are not seen"""


def trust(rate, hide, swap):
    return 1 - rate * hide - rate * swap
