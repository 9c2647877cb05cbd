"""only the first piece of a word is hidden; the others give it away"""

import torch


def hide_words(tokens, word_of, chosen, mask_id):
    before = torch.cat([torch.full_like(word_of[:, :1], -1), word_of[:, :-1]], dim=1)
    hidden = (word_of >= 0) & (word_of != before) & chosen.gather(1, word_of.clamp(min=0))
    return tokens.masked_fill(hidden, mask_id), tokens.masked_fill(~hidden, -100)
