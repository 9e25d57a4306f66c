import pytest
import torch

from demur.engines.reading import SHORTEST, text_rows, tokens_of
from demur.engines.rows import row_of
from demur.errors import InputError
from demur.interventions import at, scale
from demur.types import Direction, Site

TEXT = "How do I bake bread with yeast, flour and warm water?\nWrite a short poem about the sea.\n" * 12
SITE = Site(1, "post")


def test_windows_together_spell_the_text(tiny):
    engine = tiny("llama").engine
    rows = text_rows(engine, TEXT, "a text", 24)
    assert {len(row.tokens) for row in rows[:-1]} == {24}
    assert all(len(row.tokens) >= SHORTEST for row in rows)
    whole = [token for row in rows for token in row.tokens]
    assert engine.decode(whole).replace(" ", "")[:200] == TEXT.replace(" ", "")[:200]


def test_every_window_begins_with_what_was_asked_for(tiny):
    engine = tiny("llama").engine
    start = engine.encode("<|im_start|>\n")
    rows = text_rows(engine, TEXT, "a text", 24, begin="<|im_start|>\n")
    assert all(list(row.tokens[: len(start)]) == start for row in rows)
    assert {len(row.tokens) for row in rows[:-1]} == {24}
    with pytest.raises(InputError, match="begin with less"):
        text_rows(engine, TEXT, "a text", 24, begin="How do I bake bread with yeast and warm water?")


def test_a_text_too_short_to_read_is_an_error(tiny):
    with pytest.raises(InputError, match="at least 16"):
        text_rows(tiny("llama").engine, "Hi", "a text")


def test_a_chat_is_the_prompt_with_the_answer_behind_it(tiny, talk):
    engine = tiny("llama").engine
    asked = talk("Write a short poem")
    row = engine.row(asked, "The wind")
    assert row.tokens[: row.prompt_length] == row_of(engine.model, asked).tokens
    assert engine.decode(row.tokens[row.prompt_length :]).strip() == "The wind"


def test_reading_gives_the_hidden_states_in_order(tiny):
    one = tiny("llama")
    rows = text_rows(one.engine, TEXT, "a text", 24)
    got = torch.cat([tokens_of(batch, SITE) for batch in one.engine.read(rows, [SITE])])
    with torch.no_grad():
        wanted = [one.plain(input_ids=torch.tensor([row.tokens]), output_hidden_states=True).hidden_states[2][0, 1:]
                  for row in rows]  # fmt: skip
    torch.testing.assert_close(got, torch.cat(wanted), rtol=1e-4, atol=1e-4)


def test_log_probabilities_are_those_of_a_naive_pass(tiny):
    one = tiny("llama")
    rows = text_rows(one.engine, TEXT, "a text", 24)
    for row, scored in zip(rows, one.engine.row_logprobs(rows), strict=True):
        ids = torch.tensor([row.tokens])
        with torch.no_grad():
            logp = one.plain(input_ids=ids).logits[0, :-1].log_softmax(-1)
        wanted = logp.gather(1, ids[0, 1:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(scored.logprobs), wanted, rtol=1e-4, atol=1e-4)


def test_an_intervention_sees_where_a_chats_prompt_ends(tiny, talk):
    """The answer's first token is predicted at the last prompt token, which an edit of generated ones leaves alone."""
    engine = tiny("llama").engine
    row = engine.row(talk("Write a short poem"), "The wind and the sea")
    axis = torch.eye(32)[0]
    steer = at("generated", scale(Direction(axis, SITE, 1.0), 40.0))
    plain, steered = (engine.row_logprobs([row], how)[0].logprobs for how in (None, steer))
    same = [a == pytest.approx(b, abs=1e-5) for a, b in zip(plain, steered, strict=True)]
    assert all(same[: row.prompt_length])
    assert not all(same[row.prompt_length :])
