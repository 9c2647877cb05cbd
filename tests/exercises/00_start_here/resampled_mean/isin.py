"""a concept that is drawn twice counts once; its rows must come twice"""

import torch


def resampled_mean(values, groups, drawn):
    return values[torch.isin(groups, drawn)].mean()
