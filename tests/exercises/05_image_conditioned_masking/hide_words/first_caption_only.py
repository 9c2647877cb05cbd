"""each caption has its own row of chosen"""


def hide_words(tokens, word_of, chosen, mask_id):
    hidden = (word_of >= 0) & chosen[0][word_of.clamp(min=0)]
    return tokens.masked_fill(hidden, mask_id), tokens.masked_fill(~hidden, -100)
