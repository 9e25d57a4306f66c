"""JSON that could be read in two ways is refused, by every reader; and the seal of an object."""

import json

import pytest

from demur.attacks.replay import read_artifact
from demur.directions.exchange import read_vector
from demur.errors import InputError
from demur.interventions import read_spec
from demur.prompts.load import load
from demur.runs import read_results
from demur.runs.strict import json_seal, read_json
from demur.saes import load_features, load_sae


def test_a_key_that_stands_there_twice_is_named():
    with pytest.raises(ValueError, match="the key 'b' stands there twice"):
        read_json('{"a": {"b": 1, "c": 2, "b": 1}}')
    assert read_json('[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]


def test_nan_is_refused_where_all_is_to_be_finite():
    assert str(read_json("[NaN]")) == "[nan]"
    with pytest.raises(ValueError, match="Infinity is no JSON number"):
        read_json("[-Infinity]", finite=True)


READERS = {
    "prompts.json": load,
    "prompts.jsonl": load,
    "results.json": read_results,
    "spec.json": read_spec,
    "features.json": load_features,
    "artifact.json": read_artifact,
    "vector.svec": read_vector,
    "cfg.json": lambda path: load_sae(path.parent),
}
TEXTS = {
    "deep": "[" * 200_000,
    "deep object": '{"a":' * 200_000,
    "twice": '{"prompt": "a", "prompt": "b"}',
    "digits": "9" * 10_000,
    "surrogate": '"\\ud800"',
    "cut": '{"op": "add"',
    "null": "null",
    "nothing": "",
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_says_in_one_line_what_is_wrong(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(TEXTS[text])
    (tmp_path / "sae_weights.safetensors").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        READERS[name](path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert text != "twice" or "'prompt' stands there twice" in str(caught.value)


def test_a_row_of_json_lines_with_a_key_twice_is_named(tmp_path):
    rows = [{"prompt": "one"}, {"prompt": "two"}]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"prompt": "a", "prompt": "b"}\n')
    with pytest.raises(InputError, match=r"row 3 \(line 3\).*'prompt' stands there twice"):
        load(path)


def test_a_seal_is_of_the_content_alone_and_stays_what_it_was():
    record = {"b": 1.0, "a": [True, None, "caf\u00e9"], "c": {"z": 1e-7}}
    assert json_seal(record) == json_seal(dict(reversed(record.items())))
    assert json_seal(record) == "4f5508aa74f7cbecf6c242a9433bdd9303c44babf18501aa02a7547d5a1a906f"
    assert json_seal(record) != json_seal({**record, "b": 1})
