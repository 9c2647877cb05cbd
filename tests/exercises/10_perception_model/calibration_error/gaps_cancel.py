"""gaps of opposite sign must not cancel: take absolute values"""


def calibration_error(confidence, correct, bins):
    return (correct.mean() - confidence.mean()).abs().item()
