"""only the first of the special ids is spared; all of them are"""

import torch


def corrupt(tokens, chance, fate, others, mask_id, special_ids, rate):
    chosen = (chance < rate) & (tokens != special_ids[0])
    corrupted = torch.where(chosen & (fate < 0.8), mask_id, tokens)
    corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, corrupted)
    return corrupted, torch.where(chosen, tokens, -100)
