"""labels are written one after the other: they belong to words, not to pieces"""


def piece_labels(word_of_piece, labels):
    return [-100, *labels, *[-100] * len(word_of_piece)][: len(word_of_piece)]
