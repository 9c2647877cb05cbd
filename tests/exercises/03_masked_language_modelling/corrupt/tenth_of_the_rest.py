"""a tenth of what the mask leaves is swapped; it is a tenth of the chosen"""

import torch


def corrupt(tokens, chance, fate, others, mask_id, special_ids, rate):
    chosen = (chance < rate) & ~torch.isin(tokens, torch.tensor(special_ids))
    corrupted = torch.where(chosen & (fate < 0.8), mask_id, tokens)
    corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.8 + 0.1 * 0.2), others, corrupted)
    return corrupted, torch.where(chosen, tokens, -100)
