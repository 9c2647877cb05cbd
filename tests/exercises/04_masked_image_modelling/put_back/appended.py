"""the mask tokens stand at the end: put every state at its own place"""

import torch


def put_back(seen, mask_token, noise):
    tokens = mask_token.repeat(len(seen), noise.shape[1] - seen.shape[1], 1)
    return torch.cat([seen, tokens], dim=1)
