"""HLO opcodes and their numbers in the TpuGraphs data set."""

# In the data set's order: the number of an opcode is its place, counted from 1. `trace` (97) and `tuple-select` (101)
# are gone from XLA, but keep their places.
_NAMES = """
    abs add add-dependency after-all all-reduce all-to-all atan2 batch-norm-grad batch-norm-inference
    batch-norm-training bitcast bitcast-convert broadcast call ceil cholesky clamp collective-permute
    count-leading-zeros compare complex concatenate conditional constant convert convolution copy copy-done
    copy-start cosine custom-call divide domain dot dynamic-slice dynamic-update-slice exponential
    exponential-minus-one fft floor fusion gather get-dimension-size set-dimension-size get-tuple-element imag
    infeed iota is-finite log log-plus-one and not or xor map maximum minimum multiply negate outfeed pad
    parameter partition-id popcnt power real recv recv-done reduce reduce-precision reduce-window remainder
    replica-id reshape reverse rng rng-get-and-update-state rng-bit-generator round-nearest-afz rsqrt scatter
    select select-and-scatter send send-done shift-left shift-right-arithmetic shift-right-logical sign sine
    slice sort sqrt subtract tanh trace transpose triangular-solve tuple tuple-select while cbrt all-gather
    collective-permute-start collective-permute-done logistic dynamic-reshape all-reduce-start all-reduce-done
    reduce-scatter all-gather-start all-gather-done opt-barrier async-start async-update async-done
    round-nearest-even stochastic-convert tan
""".split()

UNKNOWN = 0
OPCODE_NUMBERS: dict[str, int] = {name: number for number, name in enumerate(_NAMES, start=1)}
OPCODE_NAMES: dict[int, str] = {number: name for name, number in OPCODE_NUMBERS.items()}
#: how many numbers there are
OPCODES = 1 + len(OPCODE_NUMBERS)
#: the opcodes whose operands have roles or whose columns say more than those of others
CONVOLUTION, COPY, DOT, FUSION, PARAMETER, REDUCE, RESHAPE, TRANSPOSE = (
    OPCODE_NUMBERS[name]
    for name in ("convolution", "copy", "dot", "fusion", "parameter", "reduce", "reshape", "transpose")
)


def opcode_number(name: str) -> int:
    """Number (1..120) of the HLO opcode `name`; 0 for an opcode the data set does not know, such as `erf`."""
    return OPCODE_NUMBERS.get(name, UNKNOWN)
