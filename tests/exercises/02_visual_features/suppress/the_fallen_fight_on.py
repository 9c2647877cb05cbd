"""a box that has fallen takes no other with it"""

from torchvision.ops import box_iou


def suppress(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    overlap = box_iou(boxes[order], boxes[order])
    fallen = (overlap.triu(diagonal=1) > threshold).any(dim=0)
    return order[~fallen].tolist()
