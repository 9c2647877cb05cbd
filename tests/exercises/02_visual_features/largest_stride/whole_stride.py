"""half a stride is the worst case: on either side of the object there is a window"""

import math


def largest_stride(side, overlap):
    return side * (1 - math.sqrt(2 * overlap / (1 + overlap)))
