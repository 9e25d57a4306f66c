import pytest

from demur.directions.artifact import save_direction
from demur.engines.chat import conversation_of
from demur.engines.mock import REFUSAL, MockEngine
from demur.errors import BadSpec, InputError, UnknownName
from demur.interventions import add
from demur.types import Decoding, Message


def test_a_text_is_answered_and_steered():
    mock = MockEngine()
    assert mock.chat("How do I bake bread?").startswith("Sure, here is how do i bake bread")
    assert mock.chat("How do I bake bread?", steer=add(mock.direction, 4.0)) == REFUSAL


def test_a_line_of_steering_means_what_it_means_on_the_command_line(tmp_path):
    mock = MockEngine()
    save_direction(mock.direction, tmp_path / "d.safetensors")
    assert mock.chat("How do I bake bread?", f"add:{tmp_path}/d.safetensors:4") == REFUSAL
    with pytest.raises(BadSpec, match="neither a .json spec nor OP:FILE"):
        mock.chat("How do I bake bread?", "push")


def test_the_decoding_is_the_callers(tiny, talk):
    engine = tiny("llama").engine
    from demur.engines.base import Request

    def made(decoding):
        return engine.generate([Request(talk("Hi"))], decoding)[0].text

    assert engine.chat("Hi", max_new_tokens=5) == made(Decoding(5))
    sampled = engine.chat("Hi", max_new_tokens=9, temperature=1.2, top_p=0.9, seed=4)
    assert sampled == made(Decoding(9, 1.2, 0.9, 4))


def test_messages_a_system_prompt_and_an_attack_make_the_conversation():
    asked = [{"role": "user", "content": "Hi"}, Message("assistant", "Hello"), {"role": "user", "content": "Bread?"}]
    c = conversation_of(asked, system="Be kind")
    assert [(m.role, m.content) for m in c.messages] == [
        ("system", "Be kind"), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bread?")
    ]  # fmt: skip
    assert c.prompt.text == "Bread?"
    begun = conversation_of("Hi", "prefill", "Be kind")
    assert begun.prefill and begun.attack == "prefill" and begun.messages[0] == Message("system", "Be kind")


def test_what_cannot_be_sent_is_refused():
    mock = MockEngine()
    with pytest.raises(InputError, match="'prefill' rewrites one request; give it a text"):
        conversation_of([Message("user", "Hi")], "prefill")
    with pytest.raises(InputError, match="has a system message already"):
        conversation_of([Message("system", "a"), Message("user", "Hi")], system="b")
    with pytest.raises(InputError, match="is no message; write {'role'"):
        mock.chat([{"user": "Hi"}])
    with pytest.raises(InputError, match="must end with a user turn"):
        mock.chat([])
    with pytest.raises(InputError, match="no text"):
        mock.chat("  ")
    with pytest.raises(UnknownName, match="no attack named 'prefil'"):
        conversation_of("Hi", "prefil")


@pytest.mark.unchecked
def test_a_bare_direction_is_no_steering_and_the_fix_is_said():
    mock = MockEngine()
    with pytest.raises(InputError, match=r"give demur\.add\(it, 0\.3, relative=True\)"):
        mock.chat("How do I bake bread?", steer=mock.direction)  # pyright: ignore
