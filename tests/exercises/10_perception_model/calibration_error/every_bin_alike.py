"""weigh each bin by its share of the answers"""

import torch


def calibration_error(confidence, correct, bins):
    place = (confidence * bins).long()
    gaps = [(correct[place == b].mean() - confidence[place == b].mean()).abs() for b in place.unique()]
    return torch.stack(gaps).mean().item()
