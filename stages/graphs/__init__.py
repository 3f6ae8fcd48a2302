"""The vocabulary that all stages share: collections, npz files, opcodes, tensors, topology, packed graphs."""
