"""the box is rounded to whole entries; RoIAlign rounds nothing"""

import torch
from torchvision.ops import roi_align


def region_mean(feature, box, stride, points):
    whole = [torch.tensor([[float(round(edge / stride)) for edge in box]])]
    return roi_align(feature[None, None], whole, 1, 1.0, points, True).item()
