"""Vectors from memory and from files of odd shapes: what is meant is taken, what is not said is asked for."""

import json

import gguf
import numpy as np
import pytest
import torch

from demur.directions.exchange import load_vector, write_vector
from demur.directions.vectors import steering_vector
from demur.errors import BadFile, BadVector, DemurError, InputError
from demur.types import Direction, Site, SteeringVector

V = torch.linspace(-1, 1, 6)


def sites(vector):
    return list(map(str, vector.vectors))


@pytest.mark.parametrize("source", [V, V[None], V.double(), V.numpy(), V.half().numpy(), V.numpy()[None]])
@pytest.mark.parametrize("place", [{"site": "12.pre"}, {"site": Site(12)}, {"layer": 12, "point": "pre"}])
def test_a_tensor_stands_where_it_is_told(source, place):
    found = load_vector(source, **place)
    assert sites(found) == ["12.pre"] and found.vectors[Site(12)].dtype == torch.float32
    torch.testing.assert_close(found.vectors[Site(12)], V, atol=1e-3, rtol=0)


def test_tensors_by_site_stand_at_their_sites():
    found = load_vector({"12.pre": V, Site(3, "mid"): 2 * V.numpy(), 7: V[None]})
    assert sites(found) == ["3.mid", "7.post", "12.pre"]
    torch.testing.assert_close(found.vectors[Site(3, "mid")], 2 * V)
    assert sites(load_vector({"12.pre": V, "13.pre": V}, site="13.pre")) == ["13.pre"]


def test_vectors_and_directions_pass_through():
    vector = steering_vector({Site(1): V, Site(2): V}, {"weights": "a" * 64}, {Site(1): 3.0})
    found = load_vector(vector, weights="a" * 64)
    assert (found.vectors, found.norms, found.origin) == (vector.vectors, vector.norms, vector.origin)
    one = load_vector(Direction(V / V.norm(), Site(4), 5.0, {"method": "m"}))
    assert one.vectors[Site(4)].equal(V / V.norm()) and one.norms == {Site(4): 5.0} and one.origin == {"method": "m"}
    with pytest.raises(BadFile, match="this vector was fitted on a model with weights aaaaaaaaaaaa"):
        load_vector(vector, weights="b" * 64)


WRONG = [
    (V, {}, "holds one vector and not where it belongs; say so: site=\"12.pre\""),
    (V[None], {}, "not where it belongs"),
    (V, {"site": "twelve"}, "'twelve' is no site; write LAYER.POINT"),
    (V, {"site": "3.pre", "layer": 3}, "leave them out"),
    (V, {"layer": -2}, "stands at layer -2"),
    ({-2: V}, {}, "stands at layer -2"),
    ({"3.before": V}, {}, "'3.before' is no site"),
    ({3: V, "3.post": V}, {}, "two vectors at 3.post"),
    ({}, {}, "has no site"),
    ([1.0, 2.0], {"site": "1.pre"}, "holds a list"),
    (np.array(["a"]), {"site": "1.pre"}, "holds a ndarray"),
    (torch.ones(2, 3, 4), {}, "one vector a layer"),
    (torch.tensor(1.0), {"site": "1.pre"}, "one vector a layer"),
    (torch.zeros(3, 6), {}, "every entry is zero"),
    ({1: V}, {"layer": 2, "point": "pre"}, "has no layer 2 and point pre; it has 1.pre"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "place", "said"), WRONG)
def test_what_does_not_say_a_vector_and_its_place_is_refused(source, place, said):
    with pytest.raises(InputError, match=said):
        load_vector(source, **place)


def test_a_lone_row_in_a_file_is_a_lone_vector(tmp_path):
    torch.save(V[None], path := tmp_path / "v.pt")
    with pytest.raises(InputError, match=r"demur vector convert .*v.pt placed.safetensors --layer N"):
        load_vector(path)
    assert sites(load_vector(path, layer=3)) == sites(load_vector(path, site="3.post")) == ["3.post"]


def test_a_steer_file_of_rows_counts_as_one_of_vectors(tmp_path):
    entry = {"steering_vector": V[None], "steering_coefficient": 2, "action": "add"}
    zeros = {"steering_vector": torch.zeros(6), "steering_coefficient": 1.0}
    torch.save({"layers.3": entry, "layers.4": zeros}, path := tmp_path / "v.pt")
    found = load_vector(path)
    assert sites(found) == ["3.post"]
    assert found.vectors[Site(3, "post")].equal(2 * V) and found.origin["file"] == "v.pt"
    assert load_vector(torch.load(path, weights_only=True)).vectors[Site(3, "post")].equal(2 * V)
    for change in ({"steering_vector": [1.0, 2.0]}, {"steering_coefficient": None}):
        torch.save({"layers.3": {**entry, **change}}, path)
        with pytest.raises(BadFile, match=r"layers.3 has a"):
            load_vector(path)
    torch.save({"layers.3": entry, "model.layers.3": entry}, path)
    with pytest.raises(BadVector, match="two vectors at 3.post"):
        load_vector(path)


def control(path, rows, raw_dtype=None):
    writer = gguf.GGUFWriter(path, "controlvector")
    for layer, row in rows.items():
        writer.add_tensor(f"direction.{layer}", row, raw_dtype=raw_dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_layers_of_zeros_are_no_site(tmp_path):
    zeros, v = np.zeros(6, np.float32), V.numpy()
    assert sites(load_vector(control(tmp_path / "v.gguf", {1: zeros, 2: v, 3: zeros, 4: v}))) == ["2.post", "4.post"]
    with pytest.raises(BadVector, match="every entry is zero"):
        load_vector(control(tmp_path / "none.gguf", {1: zeros, 2: zeros}))
    torch.save(torch.stack([torch.zeros(6), V]), path := tmp_path / "v.pt")
    assert sites(load_vector(path)) == ["1.post"]
    (tmp_path / "v.svec").write_text(json.dumps({"directions": {"1": [0, 0], "2": [[1, 2]]}}))
    assert sites(load_vector(tmp_path / "v.svec")) == ["2.pre"]


@pytest.mark.parametrize("name", ["F16", "BF16", "Q8_0"])
def test_a_gguf_vector_of_another_type_is_unpacked(tmp_path, name):
    v, kind = torch.linspace(-1, 1, 64), gguf.GGMLQuantizationType[name]
    data = v.half().numpy() if name == "F16" else gguf.quants.quantize(v.numpy(), kind)
    found = load_vector(control(tmp_path / "v.gguf", {5: data}, None if name == "F16" else kind))
    torch.testing.assert_close(found.vectors[Site(5, "post")], v, atol=0.01, rtol=0)


def test_a_gguf_vector_of_whole_numbers_is_refused(tmp_path):
    with pytest.raises(BadFile, match=r"direction.5 is of type I32; write it as F32"):
        load_vector(control(tmp_path / "v.gguf", {5: np.ones(6, np.int32)}))


def test_layers_below_zero_are_named(tmp_path):
    (tmp_path / "v.svec").write_text(json.dumps({"directions": {"-2": [1.0, 2.0]}}))
    with pytest.raises(BadVector, match=r"v.svec stands at layer -2; give layers counted from 0"):
        load_vector(tmp_path / "v.svec")
    for ending in ("gguf", "svec", "pt", "safetensors"):
        with pytest.raises(BadVector, match="layer -2"):
            write_vector(SteeringVector({Site(-2): V}), tmp_path / f"new.{ending}")


def test_a_layer_and_a_point_choose_in_every_format(tmp_path):
    vector = steering_vector({Site(3, "post"): V, Site(4, "post"): 2 * V})
    for ending, at in (("gguf", "4.post"), ("pt", "4.post"), ("safetensors", "4.post"), ("svec", "4.pre")):
        path = write_vector(vector, tmp_path / f"v.{ending}")
        assert sites(load_vector(path, layer=4)) == [at]
        with pytest.raises(InputError, match="has no layer 9; it has"):
            load_vector(path, layer=9)


@pytest.mark.parametrize("ending", ["gguf", "pt", "svec"])
def test_damaged_files_of_others_end_in_a_typed_error(tmp_path, ending):
    path = write_vector(steering_vector({Site(3, "post"): torch.ones(3)}), tmp_path / f"v.{ending}")
    whole, bad = path.read_bytes(), []
    for place in range(0, len(whole), 7):
        for changed in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            path.write_bytes(changed)
            try:
                load_vector(path)
            except DemurError:
                continue
            except Exception as error:
                bad.append((place, repr(error)))
    assert not bad


@pytest.mark.unchecked
def test_a_bare_layer_is_no_site_and_the_fix_is_said():
    with pytest.raises(InputError, match=r'site 14 is neither a Site nor text; give "14\.post", or layer=14'):
        load_vector(torch.ones(4), site=14)  # pyright: ignore
