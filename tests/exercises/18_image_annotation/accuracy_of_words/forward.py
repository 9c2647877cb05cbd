"""this is the accuracy that is seen when a share of the words is right; turn it round"""


def accuracy_of_words(seen, places, words):
    return (seen * words + places - words) / places
