"""words that were never seen, or are even, count as no; guess yes"""


def first_word_accuracy(captions, answers, new_captions, new_answers):
    votes = {}
    for caption, answer in zip(captions, answers, strict=True):
        word = caption.split()[0]
        votes[word] = votes.get(word, 0) + (1 if answer else -1)
    hits = [(votes.get(c.split()[0], 0) > 0) == a for c, a in zip(new_captions, new_answers, strict=True)]
    return sum(hits) / len(hits)
