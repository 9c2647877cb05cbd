"""every piece of a word is labelled: give −100 to all but the first"""


def piece_labels(word_of_piece, labels):
    return [-100 if word is None else labels[word] for word in word_of_piece]
