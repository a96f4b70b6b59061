"""Conditions are parsed within bounds of length, depth and size."""

import pytest

from router.errors import ConditionError
from router.sql_tree import MAX_CHARACTERS, MAX_DEPTH, MAX_NODES, parse


def test_text_at_the_limits_is_parsed():
    parse("close > 1".ljust(MAX_CHARACTERS))
    parse("(" * (MAX_DEPTH - 4) + "close" + ")" * (MAX_DEPTH - 4) + " > 1")
    parse(" or ".join(["close > 1"] * (MAX_NODES // 6)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("close > 1".ljust(MAX_CHARACTERS + 1), "4,097 characters are more than 4,096"),
        ("(" * (MAX_DEPTH + 1) + "close" + ")" * (MAX_DEPTH + 1), "more than 32 open parentheses"),
        ("(" * 4_000, "more than 32 open parentheses"),
        ("not " * 40 + "true", "nested deeper than 32"),
        ("not " * 1_000 + "true", "nested too deep"),
        ("- " * 2_000 + "1 > 0", "nested too deep"),
        ("close > " + " + ".join(["1"] * 40), "nested deeper than 32"),
        ("close in (" + ",".join(["1"] * 600) + ")", "longer than 512 terms"),
    ],
)
def test_text_beyond_the_limits_is_refused(text, message):
    with pytest.raises(ConditionError) as refusal:
        parse(text)
    assert (refusal.value.code, message in refusal.value.message) == ("condition.syntax", True)


def test_words_of_statements_may_stand_in_quotes():
    parse("symbol = 'SELECT' or source = 'a;b'")
