"""case 1 of 4: what first_word_accuracy returns is of type int; expected float"""


def first_word_accuracy(captions, answers, new_captions, new_answers):
    return sum(new_answers)
