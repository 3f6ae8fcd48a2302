import pytest

from stages.graphs.opcodes import OPCODE_NUMBERS, opcode_number


@pytest.mark.parametrize(
    "name, number",
    [("abs", 1), ("convolution", 26), ("dot", 34), ("reshape", 75), ("trace", 97), ("tan", 120), ("erf", 0)],
)
def test_opcode_numbers(name, number):
    assert opcode_number(name) == number


def test_opcode_table_is_the_whole_one():
    assert sorted(OPCODE_NUMBERS.values()) == list(range(1, 121))
