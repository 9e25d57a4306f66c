"""Every format: round trips, the layer convention both ways, and files that are something else."""

import json

import gguf
import pytest
import torch

import demur
from demur.directions.exchange import read_vector, write_vector
from demur.directions.vectors import check_fits, rescaled, steering_vector
from demur.errors import BadFile, BadVector, InputError, UnknownName
from demur.types import Site, SteeringVector


@pytest.fixture
def vector() -> SteeringVector:
    generator = torch.Generator().manual_seed(0)
    sites = (Site(3, "post"), Site(7, "post"))
    return steering_vector({site: torch.randn(12, generator=generator) for site in sites}, {"model": "tiny"},
                           {site: 5.0 for site in sites})  # fmt: skip


def same(a: SteeringVector, b: SteeringVector) -> bool:
    return a.vectors.keys() == b.vectors.keys() and all(torch.equal(a.vectors[s], b.vectors[s]) for s in a.vectors)


def test_our_own_file_keeps_everything(vector, tmp_path):
    found = read_vector(write_vector(vector, tmp_path / "v.safetensors"))
    assert same(found, vector)
    assert found.norms == vector.norms and found.origin == {"model": "tiny", "version": demur.__version__}


def test_a_changed_byte_is_found(vector, tmp_path):
    path = write_vector(vector, tmp_path / "v.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadFile, match="sha256"):
        read_vector(path)


def test_a_vector_of_other_weights_is_refused(vector, tmp_path):
    made = steering_vector(vector.vectors, {"weights": "a" * 64})
    path = write_vector(made, tmp_path / "v.safetensors")
    assert same(read_vector(path, "a" * 64), made)
    with pytest.raises(BadFile, match="fitted on a model with weights aaaaaaaaaaaa"):
        read_vector(path, "b" * 64)


@pytest.mark.parametrize("ending", ["gguf", "pt"])
def test_block_outputs_round_trip(vector, tmp_path, ending):
    assert same(read_vector(write_vector(vector, tmp_path / f"v.{ending}")), vector)


def test_svec_adds_to_the_input_of_the_next_block(vector, tmp_path):
    path = write_vector(vector, tmp_path / "v.svec")
    assert sorted(json.loads(path.read_text())["directions"]) == ["4", "8"]
    found = read_vector(path)
    assert set(found.vectors) == {Site(4, "pre"), Site(8, "pre")}
    assert torch.allclose(found.vectors[Site(4, "pre")], vector.vectors[Site(3, "post")])
    assert set(read_vector(path, point="post").vectors) == {Site(4, "post"), Site(8, "post")}


def test_the_input_of_a_block_is_the_output_of_the_one_before(tmp_path):
    vector = steering_vector({Site(5, "pre"): torch.ones(4)})
    for ending in ("gguf", "pt"):
        found = read_vector(write_vector(vector, tmp_path / f"v.{ending}"))
        assert set(found.vectors) == {Site(4, "post")}


def test_llama_cpp_reads_what_is_written(vector, tmp_path):
    reader = gguf.GGUFReader(write_vector(vector, tmp_path / "v.gguf", n_layers=10))
    fields = {
        "general.architecture": "controlvector",
        "controlvector.model_hint": "tiny",
        "controlvector.layer_count": 10,
    }
    for name, value in fields.items():
        field = reader.get_field(name)
        assert field is not None and field.contents() == value
    tensors = {t.name: t for t in reader.tensors}
    assert set(tensors) == {"direction.3", "direction.7"}
    assert tensors["direction.3"].tensor_type == gguf.GGMLQuantizationType.F32
    assert list(tensors["direction.3"].shape) == [12]


def test_what_a_format_cannot_reach_is_named(tmp_path):
    ones = torch.ones(4)
    for site, ending in ((Site(0, "post"), "gguf"), (Site(1, "pre"), "gguf"), (Site(2, "mid"), "gguf"),
                         (Site(0, "pre"), "pt"), (Site(2, "mlp_out"), "pt"), (Site(2, "mid"), "svec")):  # fmt: skip
        with pytest.raises(BadVector, match=f"cannot act at {site}"):
            write_vector(steering_vector({site: ones}), tmp_path / f"v.{ending}")
    both = steering_vector({Site(3, "post"): ones, Site(4, "pre"): ones})
    for ending in ("gguf", "pt", "svec"):
        with pytest.raises(BadVector, match="one place"):
            write_vector(both, tmp_path / f"v.{ending}")


def test_a_steer_file_has_the_published_fields_and_its_coefficient_counts(vector, tmp_path):
    path = write_vector(vector, tmp_path / "v.pt", blocks="h")
    record = torch.load(path, weights_only=True)
    assert set(record) == {"h.3", "h.7"}
    assert {k: v for k, v in record["h.3"].items() if k != "steering_vector"} == {
        "steering_coefficient": 1.0, "action": "add", "bias": None, "head_index": None}  # fmt: skip
    record["h.3"]["steering_coefficient"] = -2.0
    record["model.layers.7.mlp"] = record.pop("h.7")
    torch.save(record, path)
    found = read_vector(path)
    assert torch.allclose(found.vectors[Site(3, "post")], -2 * vector.vectors[Site(3, "post")])
    assert Site(7, "mlp_out") in found.vectors


@pytest.mark.parametrize("change", [{"action": "clamp"}, {"head_index": 2}])
def test_steer_entries_that_are_no_addition_are_refused(vector, tmp_path, change):
    path = write_vector(vector, tmp_path / "v.pt")
    record = torch.load(path, weights_only=True)
    record["layers.3"].update(change)
    torch.save(record, path)
    with pytest.raises(BadFile, match="layers.3"):
        read_vector(path)


def test_plain_tensors_need_to_say_where_they_belong(tmp_path):
    path = tmp_path / "v.pt"
    torch.save(torch.ones(6), path)
    with pytest.raises(InputError, match="--layer"):
        read_vector(path)
    assert set(read_vector(path, layer=2).vectors) == {Site(2, "post")}
    assert set(read_vector(path, layer=2, point="pre").vectors) == {Site(2, "pre")}
    torch.save(torch.ones(3, 6), path)
    assert set(read_vector(path).vectors) == {Site(i, "post") for i in range(3)}
    assert set(read_vector(path, layer=1).vectors) == {Site(1, "post")}
    torch.save({4: torch.ones(6), "5": torch.ones(6)}, path)
    assert set(read_vector(path).vectors) == {Site(4, "post"), Site(5, "post")}
    with pytest.raises(InputError, match="no layer 9"):
        read_vector(path, layer=9)


def test_aisteer360_rows_are_taken_when_there_is_one(tmp_path):
    path = tmp_path / "v.svec"
    path.write_text(json.dumps({"model_type": "llama", "directions": {"3": [[1.0, 2.0, 3.0]]}}))
    assert torch.equal(read_vector(path).vectors[Site(3, "pre")], torch.tensor([1.0, 2.0, 3.0]))
    path.write_text(json.dumps({"directions": {"3": [[1.0, 2.0], [3.0, 4.0]]}}))
    with pytest.raises(BadVector, match="one vector a layer"):
        read_vector(path)


class Evil:
    def __reduce__(self):
        return (print, ("never",))


def test_files_that_are_something_else_say_so(tmp_path, capsys):
    for name in ("v.safetensors", "v.gguf", "v.svec", "v.pt"):
        with pytest.raises(BadFile, match=r"no (vector|control vector|.svec file|file) at"):
            read_vector(tmp_path / name)
        (tmp_path / name).write_bytes(b"not a vector at all, only a line of words")
        with pytest.raises(BadFile):
            read_vector(tmp_path / name)
    torch.save(Evil(), tmp_path / "v.pt")
    with pytest.raises(BadFile, match="save tensors only"):
        read_vector(tmp_path / "v.pt")
    assert capsys.readouterr().out == ""
    (tmp_path / "v.npy").write_bytes(b"")
    for act in (lambda: read_vector(tmp_path / "v.npy"),
                lambda: write_vector(steering_vector({Site(1): torch.ones(3)}), tmp_path / "v.npy")):  # fmt: skip
        with pytest.raises(UnknownName, match="gguf"):
            act()


BROKEN = {
    "every entry is zero": torch.zeros(4),
    "1 of 2": torch.tensor([1.0, float("nan")]),
    "one dimension": torch.ones(2, 2),
}


@pytest.mark.parametrize(("said", "value"), BROKEN.items())
def test_vectors_that_are_none_are_refused(said, value):
    with pytest.raises(BadVector, match=said):
        steering_vector({Site(1): value})


def test_widths_and_layers_are_checked_against_the_model(vector):
    with pytest.raises(BadVector, match="different widths"):
        steering_vector({Site(1): torch.ones(3), Site(2): torch.ones(4)})
    with pytest.raises(BadVector, match="tiny has 576"):
        check_fits(vector, 576, 30, "tiny")
    with pytest.raises(BadVector, match="layers 0 to 5"):
        check_fits(vector, 12, 6, "tiny")
    check_fits(vector, 12, 8, "tiny")


def test_rescaling_gives_every_site_its_length(vector):
    lengths = {Site(3, "post"): 2.0, Site(7, "post"): 3.0}
    found = rescaled(vector, lengths)
    assert [round(float(v.norm()), 5) for v in found.vectors.values()] == [2.0, 3.0]
    with pytest.raises(BadVector, match=r"7\.post"):
        rescaled(vector, {Site(3, "post"): 2.0})
