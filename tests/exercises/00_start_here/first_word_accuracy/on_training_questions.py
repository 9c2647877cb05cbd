"""this is the accuracy on the questions that you learned from; use the new ones"""


def first_word_accuracy(captions, answers, new_captions, new_answers):
    words = [caption.split()[0] for caption in captions]
    said = {w: [a for v, a in zip(words, answers, strict=True) if v == w] for w in words}
    guesses = [2 * sum(said[w]) >= len(said[w]) for w in words]
    return sum(g == a for g, a in zip(guesses, answers, strict=True)) / len(answers)
