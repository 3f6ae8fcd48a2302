"""Which kernels are held out, and that a collection cut short has kernels of all splits."""

from collections import Counter

from stages.collect.cpu.kernels.registry import KERNELS


def test_splits_hold_out_kinds_and_any_prefix_has_all_splits():
    assert len({kernel.id for kernel in KERNELS}) == len(KERNELS)
    trained = {kernel.kind for kernel in KERNELS if kernel.split == "train"}
    for kernel in KERNELS:
        expected = "train" if kernel.split == "train" else "sibling" if kernel.kind in trained else "unseen"
        assert kernel.kin == expected, kernel.id
    unseen = {split: {k.kind for k in KERNELS if k.kin == "unseen" and k.split == split} for split in ("valid", "test")}
    assert len(unseen["test"]) >= 2 and unseen["valid"] and not unseen["test"] & unseen["valid"]
    third = Counter((kernel.split, kernel.kin) for kernel in KERNELS[: len(KERNELS) // 3])
    assert set(third) == set(Counter((kernel.split, kernel.kin) for kernel in KERNELS))
