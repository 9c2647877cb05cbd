"""the best score comes first"""

from torchvision.ops import nms


def suppress(boxes, scores, threshold):
    return nms(boxes, 1 - scores, threshold).tolist()
