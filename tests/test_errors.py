import pickle

from stages.errors import InputError


def test_a_message_is_one_line_whatever_it_quotes():
    error = InputError("graph\nof\r\nlines\u2028here: no such file")
    assert str(error) == "graph of lines here: no such file"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # as it comes from a process that trains a seed
