"""SQL text to a tree, within bounds."""

from __future__ import annotations

import re
from typing import Final

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import ParseError, TokenError

from router.errors import ConditionError

MAX_CHARACTERS: Final = 4_096
MAX_DEPTH: Final = 32
MAX_NODES: Final = 512

#: Words that begin a statement or a subquery, and the semicolon between two.
_STATEMENT_WORDS: Final = frozenset(
    [
        *(";", "SELECT", "WITH", "FROM", "INSERT", "UPDATE", "DELETE", "MERGE", "DROP", "CREATE", "ALTER"),
        *("TRUNCATE", "COPY", "ATTACH", "PRAGMA", "CALL", "EXEC"),
    ]
)
#: A comment that ends the text, with an AND or OR in it: where lines were joined, it was not meant to.
_CLAUSE_IN_COMMENT: Final = re.compile(r"\s*--.*\b(?:and|or)\b", re.IGNORECASE)
_QUOTED: Final = (TokenType.STRING, TokenType.IDENTIFIER)
_CHAINS: Final = (exp.And, exp.Or)


def syntax_error(message: str) -> ConditionError:
    """Return the error of a text that cannot be read."""
    return ConditionError("condition.syntax", "", message)


def parse(text: str) -> exp.Expr:
    """Return the tree of a condition: one expression, of bounded length and depth.

    Raises:
        ConditionError: ``condition.syntax``, or ``condition.forbidden`` for a statement or a subquery.
    """
    if len(text) > MAX_CHARACTERS:
        raise syntax_error(f"{len(text):,} characters are more than {MAX_CHARACTERS:,}")
    if not text.strip():
        raise syntax_error("the text is empty")
    try:
        _check_tokens(text)
        tree = sqlglot.parse_one(text, into=exp.Condition)
    except TokenError as error:
        raise syntax_error(f"a quote is not closed in {text!r}") from error
    except ParseError as error:
        near = error.errors[0]["highlight"]
        raise syntax_error(f"cannot be read near {near!r}") from error
    except RecursionError as error:
        raise syntax_error("nested too deep") from error
    _check_size(tree)
    return tree


# Before parsing: the parser recurses at every parenthesis, and reads whole statements.
def _check_tokens(text: str) -> None:
    depth, tokens = 0, sqlglot.tokenize(text)
    if tokens and _CLAUSE_IN_COMMENT.match(text, tokens[-1].end + 1):
        raise syntax_error(
            "what follows -- is a comment up to its line's end, and takes clauses away here: write /* … */"
        )
    for token in tokens:
        if token.token_type not in _QUOTED and token.text.upper() in _STATEMENT_WORDS:
            raise ConditionError(
                "condition.forbidden",
                "",
                f"{token.text!r} has no place in a condition, which reads columns of one point",
            )
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth > MAX_DEPTH:
            raise syntax_error(f"more than {MAX_DEPTH} open parentheses")


def _check_size(tree: exp.Expr) -> None:
    todo, seen = [(tree, 1)], 0
    while todo:
        node, depth = todo.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_NODES:
            raise syntax_error(f"nested deeper than {MAX_DEPTH} or longer than {MAX_NODES} terms")
        # A chain of ANDs is one level, however long.
        todo += [
            (child, depth + (type(child) not in _CHAINS or type(child) is not type(node)))
            for child in node.iter_expressions()
        ]
