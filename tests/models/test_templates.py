"""Chat templates: what they give, what is refused, and that none goes on for ever."""

import copy
import os
import signal
import threading
import time

import pytest

from demur.errors import BadFile, DemurError, InputError
from demur.models import render, templates
from demur.models.load import load
from demur.models.templates import template_of, template_text
from demur.types import Message

HEAD = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
TAIL = "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
PLAIN = HEAD + "{{ m['content'] }}" + TAIL
USER, SYSTEM = Message("user", "Name a river."), Message("system", "Answer in one word.")
TURNS = [SYSTEM, USER, Message("assistant", "Rhine."), Message("user", "Another one?")]


@pytest.fixture
def words(tiny):
    """words(template) -> the tiny tokenizer with that template."""

    def make(source):
        found = copy.deepcopy(tiny("llama").loaded.tokenizer)
        found.chat_template = source
        return found

    return make


def process():
    """The one that renders."""
    found = templates._renderer.process
    assert found is not None
    return found


@pytest.fixture
def quick(monkeypatch):
    """Templates have half a second."""
    monkeypatch.setattr(render, "SECONDS", 0.5)
    templates._renderer.close()
    yield
    templates._renderer.close()


@pytest.mark.parametrize(
    "source",
    [
        PLAIN,
        "  \n{% if true %}\n  x\n{% endif %}\n" + PLAIN,
        HEAD + "{{ m['content'] | trim }}{{ eos_token }}" + TAIL,
        "{{ bos_token }}{{ tools is none }}{{ documents is none }}{{ {'a': '<é>'} | tojson }}" + PLAIN,
        HEAD + "{% generation %}{% set a = 1 %}{{ m['content'] }}{% endgeneration %}{{ a }}" + TAIL,
        HEAD
        + "{% for c in 'abc' %}{% if c == 'b' %}{% break %}{% endif %}{{ c }}{% endfor %}{{ m['content'] }}"
        + TAIL,
        "{% set ns = namespace(n=0) %}" + HEAD + "{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ m['content'] }}" + TAIL,
    ],
)
@pytest.mark.parametrize("answering", [True, False])
def test_a_template_gives_what_transformers_makes_of_it(words, source, answering):
    tokenizer = words(source)
    turns = [{"role": m.role, "content": m.content} for m in TURNS]
    there = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answering)
    assert template_of(tokenizer, "m").render(TURNS, answering) == there


def test_the_default_of_several_templates_is_taken(words):
    both = words({"tool_use": "{{ 1 / 0 }}", "default": PLAIN})
    assert template_of(both, "m").source == PLAIN
    with pytest.raises(BadFile, match="m has no chat template"):
        template_of(words({"tool_use": PLAIN}), "m")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for m in messages %}", "fails: line 1: Unexpected end of template"),
        (PLAIN + "{% endif %}", "fails: line 4: Encountered unknown tag 'endif'"),
        ("{{ messages.__class__.__mro__ }}", "fails: it does what a template may not"),
        ("{{ messages.append(1) }}", "fails: it does what a template may not"),
        ("{{ raise_exception('only tools here') }}", "fails: it says 'only tools here'"),
        ("{{ persona.name }}" + PLAIN, "fails: UndefinedError: 'persona' is undefined"),
        ("{{ 1 // 0 }}" + PLAIN, "fails: ZeroDivisionError"),
        ("{{ messages | nofilter }}", "No filter named 'nofilter'"),
        ("", "has no chat template"),
        ("   ", "has no chat template"),
        ("{# nothing #}", "gives no text"),
        ("{{ '\n\n' }}", "gives no text"),
        ("<|im_start|>assistant\n", "does not show what a user says"),
        (HEAD + "{{ m['content'] | upper }}" + TAIL, "does not show what a user says"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "fails: it calls itself without end"),
        ("{{ ['ab'] * 10 ** 9 }}", "fails: it takes more than 1024 MiB of memory"),
        (
            "{% set n = namespace(x='ab') %}{% for i in range(50) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "MiB of memory",
        ),
        ("{{ 'ab' * 8000000 }}" + PLAIN, "fails: it writes 16,0"),
    ],
)
def test_a_template_that_fails_is_refused_and_named(words, source, said):
    with pytest.raises(BadFile) as error:
        template_of(words(source), "acme/chat")
    assert said in str(error.value)
    assert "acme/chat" in str(error.value) and "--chat-template FILE" in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


LOOP = "{% for i in range(99999) %}" * 4 + "{% endfor %}" * 4
POWER = "{{ 7 ** (7 ** 9) % 2 }}"  # one operation that never comes back to Python


@pytest.mark.parametrize("source", [LOOP, POWER])
def test_a_template_without_an_end_is_ended_also_beside_the_main_thread(words, quick, source):
    found = []

    def try_it():
        try:
            template_of(words(source), "m")
        except DemurError as error:
            found.append(str(error))

    began = time.monotonic()
    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join(30)
    assert found and "the chat template of m fails: it does not end within 0.5 seconds" in found[0]
    assert time.monotonic() - began < 10
    assert template_of(words(PLAIN), "m").render([USER]).startswith("<|im_start|>user\nName a river.")


def test_a_template_that_ends_for_some_texts_only_is_refused_with_these(words, quick):
    source = "{% if messages[0]['content'] == 'loop' %}" + LOOP + "{% endif %}" + PLAIN
    found = template_of(words(source), "m")
    with pytest.raises(InputError, match="does not end within"):
        found.render([Message("user", "loop")])
    assert "hi" in found.render([Message("user", "hi")])


def test_texts_are_rendered_in_threads_at_once(words):
    found, seen = template_of(words(PLAIN), "m"), []

    def many(i):
        seen.extend(str(k * i) in found.render([Message("user", f"text {k * i} of")]) for k in range(1, 40))

    threads = [threading.Thread(target=many, args=(i,)) for i in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4 * 39 and all(seen)


def test_a_text_that_was_stopped_half_way_is_not_taken_for_the_next_one(words, monkeypatch):
    found = template_of(words(PLAIN), "m")
    before = process()

    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr(before.stdout, "readline", stopped, raising=False)
    with pytest.raises(KeyboardInterrupt):
        found.render([Message("user", "first")])
    assert "second" in found.render([Message("user", "second")])
    assert process() is not before


def test_ctrl_c_does_not_end_the_process_that_renders(words):
    found = template_of(words(PLAIN), "m")
    before = process()
    os.kill(before.pid, signal.SIGINT)
    assert "hi" in found.render([Message("user", "hi")])
    assert process() is before


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGKILL, "signal 9 (Killed)"), (signal.SIGSEGV, "signal 11 (Segm")]
)
def test_a_process_that_something_else_ends_is_not_told_as_a_template_without_an_end(words, number, said):
    found = template_of(words("{% if messages[0]['content'] == 'loop' %}" + LOOP + "{% endif %}" + PLAIN), "m")
    timer = threading.Timer(0.3, os.kill, (process().pid, number))
    timer.start()
    with pytest.raises(InputError) as error:
        found.render([Message("user", "loop")])
    assert f"the process that renders it was ended by {said}" in str(error.value)
    assert "does not end" not in str(error.value)
    assert "hi" in found.render([Message("user", "hi")])


def test_the_process_is_started_again_where_somebody_ended_it(words):
    found = template_of(words(PLAIN), "m")
    process().kill()
    process().wait()
    assert "hi" in found.render([Message("user", "hi")])


def test_no_file_of_the_working_folder_is_taken_for_pythons_own(words, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('ran')")
    (tmp_path / "jinja2.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    templates._renderer.close()
    assert "hi" in template_of(words(PLAIN), "m").render([Message("user", "hi")])


def test_the_date_and_what_is_drawn_are_the_same_every_day(words):
    source = "{{ strftime_now('%A %d %B %Y') }} {{ range(9999) | random }} {{ lipsum(1) }}" + PLAIN
    found = template_of(words(source), "m")
    assert found.render([USER]) == found.render([USER])
    assert found.render([USER]).startswith("Wednesday 01 January 2025 ")
    first = found.render([USER])
    templates._renderer.close()
    assert found.render([USER]) == first


TYPED = HEAD + "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}" + TAIL
CALLED = HEAD + "{% for p in m['content'] %}{{ p.get('text') }}{% endfor %}" + TAIL
EITHER = HEAD + "{{ m['content'] if m['content'] is string else m['content'][0]['text'] }}" + TAIL


@pytest.mark.parametrize(("source", "parts"), [(TYPED, True), (CALLED, True), (EITHER, False), (PLAIN, False)])
def test_a_template_that_wants_parts_gets_them(words, source, parts):
    found = template_of(words(source), "m")
    assert found.parts is parts
    assert found.render(TURNS) == template_of(words(PLAIN), "m").render(TURNS)


REFUSES = "{% for m in messages if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endfor %}" + PLAIN
DROPS = PLAIN.replace("in messages", "in messages if m['role'] != 'system'")


@pytest.mark.parametrize("source", [REFUSES, DROPS])
@pytest.mark.parametrize("content", ["m['content']", "m['content'][0]['text']"])
def test_a_system_message_without_a_place_stands_before_the_first_users_text(words, source, content):
    found = template_of(words(source.replace("m['content']", content)), "m")
    assert found.folds
    assert found.render([SYSTEM, USER]) == found.render([Message("user", "Answer in one word.\n\nName a river.")])
    assert not template_of(words(PLAIN), "m").folds


@pytest.mark.parametrize(
    ("source", "turns", "said"),
    [
        ("{% set messages = messages[-1:] %}" + PLAIN, TURNS[1:], "message 1 (user) says, 'Name a river.'"),
        (PLAIN.replace("in messages", "in messages if m['role'] == 'user'"), TURNS[1:], "message 2 (assistant) says"),
        (PLAIN.replace("m['content'] }}", "m['content'][:60] }}"), [Message("user", "x " * 50)], "message 1 (user)"),
        (REFUSES, [USER, SYSTEM], "it says 'no system'"),
        (
            "{% if messages | length > 1 %}{{ raise_exception('roles') }}{% endif %}" + PLAIN,
            TURNS[1:],
            "it says 'roles'",
        ),
    ],
)
def test_what_somebody_says_is_never_left_out_silently(words, source, turns, said):
    found = template_of(words(source), "m")
    with pytest.raises(InputError) as error:
        found.render(turns)
    assert said in str(error.value)


def test_thoughts_may_be_taken_out_of_earlier_answers(words):
    found = template_of(words(PLAIN.replace("m['content'] }}", "m['content'].split('</think>')[-1] | trim }}")), "m")
    turns = [USER, Message("assistant", "<think>Hm.</think>\n\nRhine."), USER]
    assert "Rhine." in found.render(turns) and "Hm." not in found.render(turns)


SWITCHED = PLAIN + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>{% endif %}"
OTHER = "{% if thinking %}Think first. {% endif %}" + PLAIN
IDLE = "{% if thinking is defined %}{% set x = thinking %}{% endif %}" + PLAIN


@pytest.mark.parametrize("source", [SWITCHED, OTHER])
def test_thinking_is_turned_on_and_off_where_there_is_a_switch(words, source):
    on, off = (template_of(words(source), "m", value) for value in (True, False))
    assert on.render([USER]) != off.render([USER])
    default = template_of(words(source), "m")
    assert default.render([USER]) in (on.render([USER]), off.render([USER]))
    assert len({on.sha256, off.sha256, default.sha256}) == 3


@pytest.mark.parametrize("source", [PLAIN, IDLE])
def test_a_switch_that_does_nothing_is_refused(words, source):
    with pytest.raises(
        InputError, match=r"template of m has no switch for thinking \(none of enable_thinking, thinking"
    ):
        template_of(words(source), "m", True)


def test_a_template_comes_from_a_file_or_is_the_text(tmp_path):
    path = tmp_path / "chat.jinja"
    path.write_text(PLAIN)
    assert template_text(path) == template_text(str(path)) == template_text(PLAIN) == PLAIN
    path.write_bytes(b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode())
    assert template_text(path) == PLAIN
    path.write_bytes(b"\xff\xfe{{")
    with pytest.raises(BadFile, match=r"cannot read the chat template .*chat.jinja: it is not UTF-8"):
        template_text(path)
    path.write_text(" \n")
    with pytest.raises(BadFile, match="chat.jinja is empty"):
        template_text(path)
    for other, why in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), ("x" * 400, "name too long")):
        with pytest.raises(BadFile, match=why):
            template_text(other)


def test_a_model_loads_with_a_template_of_ones_own(tiny, tmp_path):
    one = tiny("llama")
    folder, bare = tmp_path / "model", copy.deepcopy(one.loaded.tokenizer)
    bare.chat_template = None
    one.plain.save_pretrained(folder)
    bare.save_pretrained(folder)
    with pytest.raises(BadFile, match="has no chat template"):
        load(folder, "fp32")
    path = tmp_path / "mine.jinja"
    path.write_text(SWITCHED)
    whole = load(folder, "fp32", chat_template=path)
    assert whole.chat.source == SWITCHED
    off = load(folder, "fp32", chat_template=SWITCHED, thinking=False)
    assert off.chat.render([USER]) == whole.chat.render([USER]) + "<think>\n\n</think>"
    assert off.fingerprint.template != whole.fingerprint.template
    path.write_text("{% for m in messages %}", encoding="utf-8")
    with pytest.raises(BadFile, match=r"the chat template .*mine\.jinja fails"):
        load(folder, "fp32", chat_template=path)
    assert off.fingerprint.weights == whole.fingerprint.weights
