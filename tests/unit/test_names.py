"""Names of routes and destinations, and hints for misspelt ones."""

import pytest

from router.names import is_name, nearest


@pytest.mark.parametrize("name", ["a", "csv_daily", "kafka.eu-1", "x" * 100])
def test_name_of_plain_characters_is_one(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "x" * 101, "a b", "a/b", "\u0430", "a\n", None, 3, b"a"])
def test_anything_else_is_no_name(name):
    assert not is_name(name)


@pytest.mark.parametrize(
    ("misspelt", "hint"),
    [
        ("batchsize", " (did you mean 'batch_size'?)"),
        ("NAME", " (did you mean 'name'?)"),
        ("COND", " (did you mean 'condition'?)"),
        ("co", ""),
        ("xyz", ""),
    ],
)
def test_nearest_hints_at_what_was_meant(misspelt, hint):
    assert nearest(misspelt, ["name", "batch_size", "condition"]) == hint


def test_of_two_that_are_as_near_the_one_it_begins_with_is_meant():
    assert nearest("1day", ["1y", "1d"]) == nearest("1day", ["1d", "1y"]) == " (did you mean '1d'?)"
