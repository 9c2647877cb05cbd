"""take the gap to the mean confidence of the bin, not to its middle"""


def calibration_error(confidence, correct, bins):
    place = (confidence * bins).long()
    error = 0.0
    for b in range(bins):
        inside = place == b
        if inside.any():
            error += (inside.float().mean() * (correct[inside].mean() - (b + 0.5) / bins).abs()).item()
    return error
