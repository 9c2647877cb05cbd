"""a patch may turn up at another place: compare with all patches"""

from mmcook import vision


def surviving_share(image, size, shift):
    before, after = (vision.patchify(x[None], size)[0] for x in (image, image.roll(shift, dims=2)))
    return (before == after).all(dim=1).float().mean().item()
