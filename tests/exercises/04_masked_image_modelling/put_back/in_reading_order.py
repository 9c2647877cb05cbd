"""seen[b, j] has the j-th smallest noise; it is not the j-th seen patch in reading order"""


def put_back(seen, mask_token, noise):
    states = mask_token.repeat(*noise.shape, 1)
    rank = noise.argsort(dim=1).argsort(dim=1)
    states[rank < seen.shape[1]] = seen.flatten(0, 1)
    return states
