"""a concept that is drawn twice brings its words twice"""

import numpy as np


def gain_by_kind(without, with_picture, kinds, concepts, draws):
    gain, kinds, found = without - with_picture, np.array(kinds), {}
    for kind in np.unique(kinds).tolist():
        rows = kinds == kind
        brought = [gain[rows & np.isin(concepts, row)] for row in draws]
        edges = np.quantile([b.mean() for b in brought if len(b)], [0.025, 0.975])
        found[kind] = [float(gain[rows].mean()), *map(float, edges)]
    return found
