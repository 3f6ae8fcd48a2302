import copy

from stages.engine.errors import InputError


def test_a_message_is_one_line_whatever_it_quotes():
    error = InputError("graph\nof\r\nlines\u2028here: no such file")
    assert str(error) == "graph of lines here: no such file"
    assert str(copy.deepcopy(error)) == str(error)  # taken apart and put together as between processes
