"""the targets are the true tokens, not the mask"""


def hide_words(tokens, word_of, chosen, mask_id):
    hidden = (word_of >= 0) & chosen.gather(1, word_of.clamp(min=0))
    tokens = tokens.masked_fill(hidden, mask_id)
    return tokens, tokens.masked_fill(~hidden, -100)
