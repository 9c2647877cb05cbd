"""argsort sorts; what undoes it is the argsort of the argsort"""

import torch


def put_back(seen, mask_token, noise):
    tokens = mask_token.repeat(len(seen), noise.shape[1] - seen.shape[1], 1)
    states = torch.cat([seen, tokens], dim=1)
    order = noise.argsort(dim=1)
    return torch.stack([row[places] for row, places in zip(states, order, strict=True)])
