"""equal means pixel by pixel; patches of one mean may differ"""

from mmcook import vision


def surviving_share(image, size, shift):
    moved = image.roll(shift, dims=2)
    before, after = (vision.patchify(x[None].double(), size)[0].mean(dim=1) for x in (image, moved))
    return ((after[:, None] - before[None]).abs() < 1e-9).any(dim=1).float().mean().item()
