"""tokens that were not chosen are swapped"""

import torch


def corrupt(tokens, chance, fate, others, mask_id, special_ids, rate):
    chosen = (chance < rate) & ~torch.isin(tokens, torch.tensor(special_ids))
    corrupted = torch.where(chosen & (fate < 0.8), mask_id, tokens)
    corrupted = torch.where((fate >= 0.8) & (fate < 0.9), others, corrupted)
    return corrupted, torch.where(chosen, tokens, -100)
