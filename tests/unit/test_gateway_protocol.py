"""What subscribers may say, and what they are told of what they may not."""

from __future__ import annotations

import json

import pytest

from workers.gateway import protocol
from workers.gateway.protocol import After, RefusalError, Request, Selection, read_message, read_query


def refused(read, given) -> RefusalError:
    with pytest.raises(RefusalError) as found:
        read(given)
    return found.value


def test_a_message_says_what_is_wanted_and_after_which_point():
    text = json.dumps(
        {
            "subscribe": {
                "symbols": ["BTC/USDT", "e\u0301"],
                "timeframes": ["1m"],
                "asset_classes": ["crypto"],
            },
            "after": {"epoch": "ab", "seq": 7},
            "token": "t",
        }
    )
    chosen = Selection(frozenset({"BTC/USDT", "\u00e9"}), frozenset({"1m"}), frozenset({"crypto"}))
    assert read_message(text) == Request(chosen, After("ab", 7), "t")


@pytest.mark.parametrize("text", ["{}", '{"subscribe": null}', '{"subscribe": {}, "after": null}'])
def test_a_message_without_a_filter_wants_everything_from_now_on(text):
    assert read_message(text) == Request(Selection())
    assert Selection().everything


def test_the_oldest_point_that_is_kept_may_be_asked_for():
    assert read_message('{"after": "oldest"}').after == After()
    assert read_query([("after", "oldest")]) == Request(Selection(), After())


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "message.empty", "subscribe"),
        ("subscribe", "message.not_json", "line 1"),
        ("[" * 60_000, "message.depth", "nested"),
        ('{"token": "a", "token": "b"}', "message.duplicate_key", "token"),
        ("x" * (64 * 1024 + 1), "message.size", "bytes"),
        ("[]", "message.shape", "not an object"),
        ('{"subscribe": []}', "message.shape", "subscribe is not an object"),
        ('{"subscibe": {}}', "message.field", "did you mean 'subscribe'?"),
        ('{"subscribe": {"symbol": ["A"]}}', "message.field", "did you mean 'symbols'?"),
        ('{"token": 7}', "message.type", "token"),
        ('{"subscribe": {"symbols": "A"}}', "filter.symbols", "list of texts"),
        ('{"subscribe": {"symbols": [1]}}', "filter.symbols", "list of texts"),
        ('{"subscribe": {"symbols": []}}', "filter.symbols", "is empty"),
        ('{"subscribe": {"symbols": [""]}}', "filter.symbols", "not a text"),
        ('{"subscribe": {"symbols": ["A\\u0000"]}}', "filter.symbols", "not a text"),
        ('{"subscribe": {"symbols": ["\\ud800"]}}', "filter.symbols", "not a text"),
        ('{"subscribe": {"timeframes": ["1min"]}}', "filter.timeframes", "did you mean '1m'?"),
        ('{"subscribe": {"asset_classes": ["crypt0"]}}', "filter.asset_classes", "did you mean 'crypto'?"),
        (json.dumps({"subscribe": {"symbols": ["A"] * 1001}}), "filter.too_many", "1000"),
        ('{"after": 7}', "after", "oldest"),
        ('{"after": {"epoch": "a"}}', "after", "oldest"),
        ('{"after": {"epoch": "", "seq": 1}}', "after", "oldest"),
        ('{"after": {"epoch": "a", "seq": -1}}', "after", "oldest"),
        ('{"after": {"epoch": "a", "seq": true}}', "after", "oldest"),
        ('{"after": {"epoch": "a", "seq": 1.0}}', "after", "oldest"),
        ('{"after": {"epoch": "a", "seq": 1' + "0" * 5000 + "}}", "after", "oldest"),
        ('{"after": {"epoch": "a", "sequence": 1}}', "message.field", "none of epoch, seq"),
    ],
)
def test_a_message_that_cannot_be_read_is_told_what_would_be_right(text, code, said):
    found = refused(read_message, text)
    assert (found.code, found.close) == (code, protocol.BAD_REQUEST)
    assert said in found.message
    assert len(found.message) < 500


def test_a_url_says_it_too():
    asked = [("symbol", "A"), ("symbol", "B"), ("timeframe", "1d"), ("after", "ab:cd:7"), ("token", "t")]
    chosen = Selection(frozenset({"A", "B"}), frozenset({"1d"}))
    assert read_query(asked) == Request(chosen, After("ab:cd", 7), "t")
    assert read_query([("all", "")]) == Request(Selection())


def test_a_url_that_says_nothing_but_a_token_leaves_it_to_a_message():
    assert read_query([]) is None
    assert read_query([("token", "t")]) is None


@pytest.mark.parametrize(
    ("parameter", "value", "code"),
    [
        ("symbols", "A", "query.unknown"),
        ("after", "7", "after"),
        ("after", "ab:", "after"),
        ("after", "ab:\u0663", "after"),
        ("after", "ab:" + "1" * 17, "after"),
        ("timeframe", "1hour", "filter.timeframes"),
    ],
)
def test_a_url_that_cannot_be_read_is_told_what_would_be_right(parameter, value, code):
    assert refused(read_query, [(parameter, value)]).code == code


def test_a_token_is_in_no_text_of_a_request():
    assert "secret" not in repr(read_message('{"token": "secret"}'))


def test_a_selection_takes_what_fits_all_its_filters():
    chosen = Selection(frozenset({"A"}), None, frozenset({"crypto"}))
    assert chosen.takes("A", "1m", "crypto")
    assert not chosen.takes("B", "1m", "crypto")
    assert not chosen.takes("A", "1m", "equity")


def test_a_message_of_points_is_one_json_object():
    points = [protocol.numbered(3, '{"symbol":"A"}'), protocol.numbered(4, '{"symbol":"B"}')]
    text = protocol.points_head("ab", 4, 2) + protocol.points_tail(points)
    assert json.loads(text) == {
        "type": "points",
        "epoch": "ab",
        "seq": 4,
        "prev": 2,
        "points": [{"seq": 3, "symbol": "A"}, {"seq": 4, "symbol": "B"}],
    }
