"""-1 is no word, and must not count as word 0"""


def hide_words(tokens, word_of, chosen, mask_id):
    hidden = chosen.gather(1, word_of.clamp(min=0))
    return tokens.masked_fill(hidden, mask_id), tokens.masked_fill(~hidden, -100)
