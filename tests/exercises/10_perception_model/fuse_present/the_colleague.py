"""both faults are still there"""


def fuse_present(encoded, present):
    return encoded.mean(dim=1)
