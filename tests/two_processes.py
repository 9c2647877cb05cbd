"""Run by torchrun as two gloo processes: each contrastive objective over gathered features against one process.

Every rank holds half of the batch and its own copy of a linear encoder; gradients are averaged over the ranks, as
data parallelism does. Rank 0 writes the largest differences to the file named on the command line.
"""

import json
import sys

import torch
import torch.distributed as dist

from mmcook import alignment, training

OBJECTIVES = {
    "info_nce": lambda u, v, s, b: alignment.info_nce(u, v, s),
    "sigmoid_loss": alignment.sigmoid_loss,
    "triplet_loss": lambda u, v, s, b: alignment.triplet_loss(u, v, 0.4),
    "triplet_loss over all negatives": lambda u, v, s, b: alignment.triplet_loss(u, v, 0.4, hardest=False),
}


def parameters():
    """The same encoders on every rank: two matrices, a scale and a bias."""
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(6, 5, dtype=torch.float64, generator=generator) for _ in range(2)]
    return [p.requires_grad_() for p in (*matrices, torch.tensor(3.0).double(), torch.tensor(-2.0).double())]


def main(target):
    """Compare all objectives and write what differs most."""
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    assert world == 2, f"{world} processes, expected two"
    generator = torch.Generator().manual_seed(1)
    images, texts = (torch.randn(8, 6, dtype=torch.float64, generator=generator) for _ in range(2))
    differences = {}
    for name, loss in OBJECTIVES.items():
        shared, alone = parameters(), parameters()
        mine = slice(4 * rank, 4 * rank + 4)
        gathered = [training.gather(x[mine] @ w) for x, w in zip((images, texts), shared[:2], strict=True)]
        both = loss(*gathered, *shared[2:])
        both.backward()
        one = loss(images @ alone[0], texts @ alone[1], *alone[2:])
        one.backward()
        gaps = [float((both - one).abs())]
        for p, q in zip(shared, alone, strict=True):
            if q.grad is None:
                continue
            dist.all_reduce(p.grad)
            gaps.append(float((p.grad / world - q.grad).abs().max()))
        differences[name] = max(gaps)
    if rank == 0:
        with open(target, "w") as file:
            json.dump({"world": world, "differences": differences}, file)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
