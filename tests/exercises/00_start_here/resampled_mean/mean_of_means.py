"""the concepts' means are averaged; every row of the draw weighs alike"""


def resampled_mean(values, groups, drawn):
    return sum(values[groups == concept].mean() for concept in drawn) / len(drawn)
