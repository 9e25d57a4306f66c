"""What an endpoint's bytes and headers mean."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import BadSpec
from demur.judges.endpoint import LONGEST_WAIT, Reply, read, retry_after
from demur.judges.rubric import RubricJudge


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("3", 3.0),
        (" 0.5 ", 0.5),
        ("100000", LONGEST_WAIT),
        (None, 7.0),
        ("", 7.0),
        ("-1", 7.0),
        ("soon", 7.0),
        ("9" * 50, 7.0),
        (formatdate(time.time() - 100, usegmt=True), 0.0),
        (formatdate(time.time() + 1e6, usegmt=True), LONGEST_WAIT),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header, wait):
    assert retry_after(header, 7.0) == wait


def test_a_date_soon_is_waited_for():
    assert 18 <= retry_after(formatdate(time.time() + 20, usegmt=True), 7.0) <= 20


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (b'{"choices": [{"message": {"content": "hi"}}]}', Reply("hi")),
        (b'{"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}',
         Reply("hi", 3, 1)),
        (b'{"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": "3"}}', Reply("hi")),
        (b'{"choices": [{"message": {"content": "hi"}}], "usage": [1]}', Reply("hi")),
        (b'{"choices": [{"message": {"content": null}}]}', Reply("")),
        (b'{"choices": [{"message": {"content": [{"text": "hi"}]}}]}', Reply("")),
        (b'{"choices": [{}]}', Reply("")),
        (b'{"choices": []}', Reply("")),
        (b'{"choices": "x"}', None),
        (b"[]", None),
        (b"null", None),
        (b"", None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)  # fmt: skip
def test_a_chat_completion_is_read_and_nothing_else(raw, reply):
    assert read(raw) == reply


@given(st.binary())
def test_no_bytes_raise(raw):
    assert read(raw) is None or isinstance(read(raw), Reply)


@pytest.mark.parametrize("key", ["sk-secr\u00e9t", "sk-secret\nHost: other", "\u201csk-secret\u201d"])
def test_a_key_that_no_header_can_hold_is_found_at_once_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(BadSpec, match="OPENAI_API_KEY holds letters or line breaks that no key has") as found:
        RubricJudge("https://host/v1", "m")
    assert "sk-" not in str(found.value)
