"""a concept's words are averaged first; every word counts alike"""

import numpy as np


def gain_by_kind(without, with_picture, kinds, concepts, draws):
    gain, kinds, found = without - with_picture, np.array(kinds), {}
    for kind in np.unique(kinds).tolist():
        rows = kinds == kind
        mean = {c: gain[rows & (concepts == c)].mean() for c in np.unique(concepts[rows])}
        brought = [[mean[c] for c in row if c in mean] for row in draws]
        edges = np.quantile([np.mean(b) for b in brought if b], [0.025, 0.975])
        found[kind] = [float(gain[rows].mean()), *map(float, edges)]
    return found
