import base64
import copy
import json
import random
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demur.errors import BadFile, BadSpec, DemurError, InputError, UnknownName
from demur.interventions import ablate, add, at, chain, everywhere, from_spec, read_spec, scale, write_spec
from demur.types import Direction, Site, SteeringVector

V = torch.randn(16, generator=torch.Generator().manual_seed(0))
R = Direction(V / V.norm(), Site(3, "mid"), 7.0)
EVERY = {
    "add": add(SteeringVector({Site(0): V, Site(12, "mlp_out"): -V}), 0.3),
    "add relative": add(R, 1.5, relative=True),
    "ablate": ablate(R, [R.site]),
    "ablate everywhere": ablate(R, dose=0.7),
    "ablate everywhere, inside": chain(at("prompt", ablate(R))),
    "ablate at sites": ablate(R, everywhere(4)),
    "scale": scale(R, -0.7),
    "nothing": scale(R, 1.0),
    "at": at("last", add(R, 2.0), 4),
    "chain": chain(at("from-last", ablate(R, [R.site])), chain(), at("prompt", chain(add(R, -1.0), scale(R, 2.0)))),
    "empty": chain(),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_spec_goes_through_json_and_back_exactly(name, tmp_path):
    made = EVERY[name]
    again = from_spec(json.loads(json.dumps(made.spec(), allow_nan=False)))
    assert again.spec() == made.spec()
    (again, made) = (again.bind(4), made.bind(4))
    assert (again.sites, again.reach, again.shape()) == (made.sites, made.reach, made.shape())
    assert again.spec() == made.spec()
    write_spec(EVERY[name], tmp_path / "a.json")
    assert read_spec(tmp_path / "a.json").spec() == EVERY[name].spec()
    if isinstance(made, type(EVERY["add"])):
        assert all(again.deltas[site].equal(delta) for site, delta in made.deltas.items())  # pyright: ignore


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=9))
def test_every_float32_survives(values):
    if not any(values):
        return
    made = add(SteeringVector({Site(0): torch.tensor(values)}), 1.0)
    again = from_spec(json.loads(json.dumps(made.spec())))
    assert again.deltas[Site(0)].equal(made.deltas[Site(0)])  # pyright: ignore[reportAttributeAccessIssue]


def test_a_spec_written_by_hand_may_list_its_numbers():
    made = from_spec({"op": "add", "deltas": {"1.pre": [1, 2.5, -3]}})
    assert made.deltas[Site(1)].tolist() == [1, 2.5, -3]  # pyright: ignore[reportAttributeAccessIssue]


def changed(change):
    record = copy.deepcopy(EVERY["ablate"].spec())
    change(record)
    return record


def flip(record):
    data = bytearray(base64.b64decode(record["axis"]["float32"]))
    data[3] ^= 1
    record["axis"]["float32"] = base64.b64encode(bytes(data)).decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip, "does not match its sha256"),
        (lambda r: r["axis"].update(sha256="0" * 64), "does not match its sha256"),
        (lambda r: r["axis"].update(sha256=None), "does not match its sha256"),
        (lambda r: r["axis"].update(float32=r["axis"]["float32"][:-8]), "cannot be read"),
        (lambda r: r["axis"].update(float32="%%%"), "cannot be read"),
        (lambda r: r["axis"].update(float32=5), "cannot be read"),
        (lambda r: r["axis"].update(shape=[17]), "cannot be read"),
        (lambda r: r["axis"].update(shape="x"), "cannot be read"),
        (lambda r: r["axis"].pop("sha256"), "a record with shape, sha256 and float32"),
        (lambda r: r.update(axis=[[1, 2], [3]]), "numbers only"),
        (lambda r: r.update(axis=[None, 1]), "numbers only"),
        (lambda r: r.update(axis=["a", "b"]), "numbers only"),
        (lambda r: r.update(axis=[10**400, 1]), "numbers only"),
        (lambda r: r.update(gain=float("nan")), "gain nan is not a finite number"),
        (lambda r: r.update(gain="2"), "gain 2 is not a finite number"),
        (lambda r: r.update(sites=["3.pre", "x"]), "'x' is not a site"),
        (lambda r: r.update(sites=3), "needs sites"),
        (lambda r: r.update(sites=[[1]]), "is not a site"),
        (lambda r: r.pop("gain"), "needs gain"),
        (lambda r: r.update(op="melt"), "no .* op named 'melt'; known: ablate, add, at, chain, clamp, patch, project"),
        (lambda r: r.update(op=["add"]), "no intervention op named"),
        (lambda r: r.pop("op"), "an object with an 'op'"),
        (lambda r: r.update(op="at"), "needs where"),
        (lambda r: r.update(op="at", where="first", inner={"op": "chain", "parts": []}), "no positions named 'first'"),
        (
            lambda r: r.update(op="at", where=["last"], inner={"op": "chain", "parts": []}),
            "an at spec needs where: a text",
        ),
        (
            lambda r: r.update(op="at", where="last", k="2", inner={"op": "chain", "parts": []}),
            "needs k: a whole number",
        ),
        (lambda r: r.update(op="at", where="last", k=0, inner={"op": "chain", "parts": []}), "k counts tokens"),
        (lambda r: r.update(op="chain"), "needs parts"),
        (lambda r: r.update(op="chain", parts=5), r"a chain spec needs parts: \[\w+, ...\]"),
        (lambda r: r.update(op="chain", parts=[5]), "an object with an 'op'"),
        (lambda r: r.update(op="add"), "needs deltas"),
        (lambda r: r.update(op="add", deltas={"1.pre": "abc"}), "a tensor in a spec is a list"),
    ],
)
def test_a_changed_or_malformed_spec_is_refused_with_what_is_wrong(change, message):
    with pytest.raises((BadSpec, UnknownName), match=message):
        from_spec(changed(change))


@pytest.mark.parametrize("axis", [[0, 0, 0], [1, float("inf")], [[1, 2], [3, 4]], [1], []])
def test_a_bad_vector_in_a_spec_is_refused(axis):
    for record in (
        {"op": "project", "axis": axis, "gain": -1, "sites": ["1.pre"]},
        {"op": "add", "deltas": {"1.pre": axis}},
    ):
        with pytest.raises(InputError):
            from_spec(record)


def test_a_spec_nested_without_end_is_refused():
    record: dict = {"op": "chain", "parts": []}
    for _ in range(5000):
        record = {"op": "chain", "parts": [record]}
    with pytest.raises(BadSpec, match="nested too deeply"):
        from_spec(record)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["op", "where", "k", "inner", "parts", "deltas", "axis", "gain", "sites", "1.pre"]),
            inner | st.sampled_from(["add", "project", "at", "chain", "last", "1.pre"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(json_values)
def test_no_json_raises_anything_but_our_own_errors(record):
    with suppress(DemurError):
        from_spec(record)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100000, "is not JSON"),
        (b"9" * 10000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_json_is_named(tmp_path, data, message):
    path = tmp_path / "steer.json"
    path.write_bytes(data)
    with pytest.raises(BadFile, match=f"steer.json {message}"):
        read_spec(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(BadFile, match=r"no steering spec at .*none.json"):
        read_spec(tmp_path / "none.json")
    with pytest.raises(BadFile, match="cannot read"):
        read_spec(tmp_path)


def test_a_failed_write_leaves_the_old_spec(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_spec(EVERY["add"], path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DemurError, match="no room"):
        write_spec(EVERY["ablate"], path)
    monkeypatch.undo()
    assert read_spec(path).spec() == EVERY["add"].spec()
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_site_that_was_changed_in_a_written_spec_is_found(tmp_path):
    path = tmp_path / "steer.json"
    write_spec(add(SteeringVector({Site(1): V}), 0.3), path)
    text = path.read_text()
    assert '"1.pre"' in text
    path.write_text(text.replace('"1.pre"', '"3.pre"'))
    with pytest.raises(BadFile, match="does not match its sha256: it was changed since it was written"):
        read_spec(path)
    record = {name: value for name, value in json.loads(path.read_text()).items() if name != "sha256"}
    path.write_text(json.dumps(record))  # changed on purpose
    assert read_spec(path).sites == {Site(3)}


def test_flipped_bits_of_a_written_spec_are_found_or_change_nothing(tmp_path):
    path, dice = tmp_path / "steer.json", random.Random(0)
    write_spec(EVERY["chain"], path)
    clean = path.read_bytes()
    for _ in range(300):
        data = bytearray(clean)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        with suppress(InputError):
            assert read_spec(path).spec() == EVERY["chain"].spec()
