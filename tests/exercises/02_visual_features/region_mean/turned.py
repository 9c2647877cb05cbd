"""x runs along the columns of the map, y along its rows"""

import torch
from torchvision.ops import roi_align


def region_mean(feature, box, stride, points):
    left, top, right, bottom = box
    turned = torch.tensor([[top, left, bottom, right]])
    return roi_align(feature[None, None], [turned], 1, 1 / stride, points, True).item()
