"""The size of one language network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Size of one network, its head and its mode.

    Heads: 'lm', 'class', 'tag', 'none', and 'encode' (a two-sided backbone's encoder alone, under a 'class' head).
    Modes: 'forward', 'train' (a step on every weight), 'tune' (a step on the last weight matrices, the rest frozen: a
    whole backward pass through attention takes XLA:CPU two seconds and more to compile).
    """

    layers: int
    width: int
    heads: int  # of attention; 0 where a network has none
    batch: int
    length: int  # tokens
    vocabulary: int
    head: str
    mode: str

    @property
    def target_length(self) -> int:
        """Tokens on the decoder's side of a two-sided network: shorter than the source, so the two never mix up."""
        return max(8, self.length * 3 // 4)
