"""a patch is equal when all three colours are"""

from mmcook import vision


def surviving_share(image, size, shift):
    red = image[:1].expand(3, -1, -1)
    before, after = (vision.patchify(x[None], size)[0] for x in (red, red.roll(shift, dims=2)))
    return (after[:, None] == before[None]).all(dim=2).any(dim=1).float().mean().item()
