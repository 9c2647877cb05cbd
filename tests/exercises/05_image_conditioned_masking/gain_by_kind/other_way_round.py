"""a gain is the loss without minus the loss with the picture"""

import numpy as np


def gain_by_kind(without, with_picture, kinds, concepts, draws):
    gain, kinds, found = with_picture - without, np.array(kinds), {}
    for kind in np.unique(kinds).tolist():
        rows = kinds == kind
        brought = [np.concatenate([gain[rows & (concepts == c)] for c in row]) for row in draws]
        edges = np.quantile([b.mean() for b in brought if len(b)], [0.025, 0.975])
        found[kind] = [float(gain[rows].mean()), *map(float, edges)]
    return found
