"""How text is cut, and where answers end."""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from demur.engines.base import Request
from demur.engines.hf import HFEngine, wrap
from demur.engines.rows import answer_tokens, plain_tokens, row_of
from demur.errors import BadFile, InputError
from demur.models.load import load
from demur.models.templates import template_of
from demur.models.tokens import cut_of, ends_of
from demur.types import Decoding

CORPUS = ["The river Rhine runs through Basel.\nThe answer: Basel is a city", "Name a river: a. The sea"] * 9
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def prefixing(kind, begin=True):
    """A tokenizer that puts a space in front of what it cuts."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    spaces = pre_tokenizers.Metaspace(prepend_scheme=kind) if kind in ("always", "first", "never") else None
    if spaces is None:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    else:
        backend.pre_tokenizer = spaces
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>", *BYTES], show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    if begin:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    found = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    found.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    return found


@pytest.fixture(scope="module")
def holding(build):
    """holding(tokenizer) -> a tiny engine with it."""

    def make(tokenizer, **config):
        model = build("llama", vocab_size=max(600, len(tokenizer)), **config).plain
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        return wrap(model, tokenizer, "m")

    return make


@pytest.mark.parametrize("kind", ["prepend", "always", "first", "never"])
@pytest.mark.parametrize(
    ("before", "text"),
    [("The answer:", " Basel"), ("The answer: ", "Basel"), ("a", "b"), ("The river\n", "The sea"), ("Rhine", ".")],
)
def test_a_text_behind_another_is_cut_as_both_together(holding, kind, before, text):
    tokenizer = prefixing(kind)
    model = holding(tokenizer).model
    whole = tokenizer(before + text)["input_ids"]
    if whole[: len(plain_tokens(model, before))] == plain_tokens(model, before):
        assert [*plain_tokens(model, before), *answer_tokens(model, text)] == whole
    else:  # they grew together: cut apart, with no space between them
        assert str(tokenizer.decode(answer_tokens(model, text))).strip() == text.strip()


def test_a_byte_level_tokenizer_that_puts_a_space_in_front_does_so_at_the_beginning_alone(tiny):
    words = copy.deepcopy(tiny("llama").loaded.tokenizer)
    words.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    model = replace(tiny("llama").loaded, tokenizer=words)
    before = plain_tokens(model, "The sea")
    assert before == words("The sea")["input_ids"] == words(" The sea")["input_ids"]
    for text in (" and the wind", "s", ".", "\n"):
        assert [*before, *answer_tokens(model, text)] == words(f"The sea{text}")["input_ids"]


@pytest.mark.parametrize("kind", ["prepend", "first"])
def test_scored_tokens_are_those_of_the_whole_text(holding, kind):
    engine = holding(prefixing(kind))
    words = engine.model.tokenizer
    whole = words("The answer: Basel is a city")["input_ids"]
    before = words("The answer:")["input_ids"]
    (scored,) = engine.logprobs([("The answer:", " Basel is a city")])
    (same,) = engine.logprobs([("The answer:", tuple(whole[len(before) :]))])
    assert scored == same


def test_what_a_prefilled_answer_begins_with_is_cut_behind_the_prompt(holding, talk):
    engine = holding(prefixing("prepend"))
    words, plain = engine.model.tokenizer, row_of(engine.model, talk("Name a river"))
    row = row_of(engine.model, talk("Name a river", prefill=" The river"))
    text = engine.model.chat.render(talk("Name a river").messages) + " The river"
    assert list(row.tokens) == words(text, add_special_tokens=False)["input_ids"]
    assert row.prompt_length == len(plain.tokens)
    answered = engine.row(talk("Name a river"), " The river")
    assert answered.tokens == row.tokens


@pytest.mark.parametrize(
    ("around", "begin"), [("<s> $A </s>", (1,)), ("$A </s>", ()), ("<s> <s> $A", (1, 1)), ("$A", ())]
)
def test_a_text_begins_as_the_tokenizer_begins_one_and_does_not_end(holding, around, begin):
    words = prefixing("never", begin=False)
    post = processors.TemplateProcessing(single=around, special_tokens=[("<s>", 1), ("</s>", 2)])
    words.backend_tokenizer.post_processor = post
    engine = holding(words)
    assert cut_of(words).begin == begin
    assert engine.encode("", begin=True) == list(begin)
    text = engine.encode("Name a river", begin=True)
    assert text == [*begin, *engine.encode("Name a river")]
    assert words.eos_token_id not in text


def test_byte_level_text_is_cut_as_it_is_alone(tiny):
    model = tiny("llama").loaded
    assert model.cut.anchor == ""
    for text in ("a", " a", "\n", "\n\nThe", "  x", "...", ""):
        assert answer_tokens(model, text) == model.tokenizer(text, add_special_tokens=False)["input_ids"]


def with_tokens(tiny, *more, role=""):
    words = copy.deepcopy(tiny("llama").loaded.tokenizer)
    words.add_special_tokens({role: more[0]} if role else {"additional_special_tokens": list(more)})
    return words


def test_a_tokenizer_larger_than_the_model_is_refused_when_loading(tiny, tmp_path):
    plain, words = tiny("llama").plain, with_tokens(tiny, "<|tool|>", "<|call|>")
    message = r"has 2 tokens beyond the model's 320 embeddings \('<\|tool\|>' is 320\); take the tokenizer"
    with pytest.raises(BadFile, match=message):
        wrap(plain, words)
    plain.save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    with pytest.raises(BadFile, match=message):
        load(tmp_path / "model", "fp32")


def test_a_padding_token_beyond_the_embedding_may_be_there_but_not_be_used(tiny, talk):
    plain, words = tiny("llama").plain, with_tokens(tiny, "[PAD]", role="pad_token")
    engine = wrap(plain, words)
    assert engine.generate([Request(talk("Hi"))], Decoding(max_new_tokens=2))
    for use in (lambda: engine.generate([Request(talk("a [PAD] b"))], Decoding(max_new_tokens=2)),
                lambda: engine.logprobs([("a", " [PAD]")]), lambda: engine.encode("[PAD]")):  # fmt: skip
        with pytest.raises(InputError, match=r"the token '\[PAD\]' \(320\), which is beyond the model's 320"):
            use()
    words.chat_template = "[PAD]" + words.chat_template
    with pytest.raises(BadFile, match="has 1 tokens beyond"):
        wrap(plain, words)


TURN = "{{% for m in messages %}}<|im_start|>{{{{ m['role'] }}}}>{{{{ m['content'] }}}}{end}{{% endfor %}}"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant>{% endif %}"


@pytest.mark.parametrize(
    ("end", "token"),
    [
        ("<|im_end|>", "<|im_end|>"),
        (" <|im_end|>\n", "<|im_end|>"),
        ("<turn_end>\n", "<turn_end>"),
        ("<|im_end|>{% if loop.last %}{{ eos_token }}{% endif %}", "<|im_end|>"),
        ("{% if loop.last %}<|stop|>{% else %}<|im_end|>{% endif %}", "<|stop|>"),
        ("\n", "<|im_start|>"),
    ],
)
def test_an_answer_ends_at_the_token_that_ends_the_templates_turns(tiny, end, token):
    words = with_tokens(tiny, "<|stop|>", "<|endoftext|>")
    words.add_tokens(["<turn_end>"])
    words.eos_token, words.chat_template = "<|endoftext|>", TURN.format(end=end) + ASK
    config = type("Config", (), {"eos_token_id": 77})
    ends = ends_of(words, template_of(words, "m"), config)
    assert ends == {77, words.eos_token_id, words.convert_tokens_to_ids(token)}


def test_a_template_whose_turns_end_in_no_token_is_warned_of(tiny):
    words = copy.deepcopy(tiny("llama").loaded.tokenizer)
    words.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    config = type("Config", (), {"eos_token_id": [2]})
    with pytest.warns(RuntimeWarning, match=r"template of m puts no token behind .* an answer ends at '<\|im_end\|>'"):
        assert ends_of(words, template_of(words, "m"), config) == {2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 2 in ends_of(tiny("llama").loaded.tokenizer, tiny("llama").loaded.chat, config)


def test_a_byte_of_a_texts_own_ends_no_answer():
    words = prefixing("prepend")
    words.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\t{% endfor %}"
    assert "<0x09>" in words.convert_ids_to_tokens(words("x\t", add_special_tokens=False)["input_ids"])
    with pytest.warns(RuntimeWarning, match="puts no token behind"):
        assert ends_of(words, template_of(words, "m"), type("Config", (), {"eos_token_id": None})) == {2}


def test_the_end_is_no_part_of_an_answers_text_also_where_it_is_an_ordinary_token(build, talk):
    one = build("llama", vocab_size=400)
    words = copy.deepcopy(one.loaded.tokenizer)
    words.add_tokens(["<turn_end>"])
    words.chat_template = TURN.format(end="<turn_end>") + ASK
    with torch.no_grad():
        one.plain.lm_head.weight.zero_()
        one.plain.lm_head.weight[words.convert_tokens_to_ids("<turn_end>")] = one.plain.model.norm.weight
    one.plain.generation_config.eos_token_id = None
    engine = wrap(one.plain, words)
    row = engine.last_logits([talk("Hi")])
    if row.argmax() != words.convert_tokens_to_ids("<turn_end>"):
        with torch.no_grad():
            one.plain.lm_head.weight.neg_()
    (answer,) = engine.generate([Request(talk("Hi"))], Decoding(max_new_tokens=4))
    assert (answer.finish, answer.text, len(answer.tokens)) == ("end", "", 1)


def test_ends_do_not_count_where_they_are_to_be_ignored(tiny, talk):
    engine = HFEngine(replace(tiny("llama").loaded, ends=frozenset(range(320))))
    (one,) = engine.generate([Request(talk("Hi"))], Decoding(max_new_tokens=4))
    (all_,) = engine.generate([Request(talk("Hi"))], Decoding(max_new_tokens=4, ignore_eos=True))
    assert (len(one.tokens), len(all_.tokens)) == (1, 4)


def test_a_text_that_the_tokenizer_cannot_cut_is_refused_in_its_words(tiny, talk):
    backend = Tokenizer(models.WordLevel({"a": 3, "river": 4, "<|im_start|>user": 5}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="a")
    words.chat_template = "a {% for m in messages %}{{ m['content'] }}{% endfor %} a"
    model = replace(tiny("llama").loaded, tokenizer=words, chat=template_of(words, "m"))
    assert row_of(model, talk("river")).tokens == (3, 4, 3)
    with pytest.raises(InputError, match=r"the tokenizer cannot cut 'a sea a': .*\[UNK\].*; change the text"):
        row_of(model, talk("sea"))
