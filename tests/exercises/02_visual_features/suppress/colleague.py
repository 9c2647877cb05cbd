"""the colleague's order puts the worst first, and his boxes fall to fallen ones"""

from torchvision.ops import box_iou


def suppress(boxes, scores, threshold):
    order = scores.argsort()
    overlap = box_iou(boxes[order], boxes[order])
    fallen = (overlap.triu(diagonal=1) > threshold).any(dim=0)
    return order[~fallen].tolist()
