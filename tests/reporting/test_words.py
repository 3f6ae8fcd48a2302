"""Phrases of the pages."""

import pytest

from stages.reporting import words


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (633, "633 ns"),
        (5221, "5.22 µs"),
        (192_229, "192.2 µs"),
        (110_691_090, "110.7 ms"),
        (2e9, "2.00 s"),
    ],
)
def test_a_time_is_written_in_the_unit_that_fits(nanoseconds, text):
    assert words.duration(nanoseconds) == text and text.endswith(words.unit(nanoseconds))
