"""tokens that were chosen and kept are targets too"""

import torch


def corrupt(tokens, chance, fate, others, mask_id, special_ids, rate):
    chosen = (chance < rate) & ~torch.isin(tokens, torch.tensor(special_ids)) & (fate < 0.9)
    corrupted = torch.where(chosen, torch.where(fate < 0.8, mask_id, others), tokens)
    return corrupted, torch.where(chosen, tokens, -100)
