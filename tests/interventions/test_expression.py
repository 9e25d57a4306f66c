"""Steering in one line takes every kind of vector, and says what a wrong file is."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from demur.directions.artifact import save_direction
from demur.directions.exchange import write_vector
from demur.errors import BadFile, BadSpec, BadVector, InputError
from demur.interventions import ablate, add, clamp_features, multiply_features, parse_steer, scale, write_spec
from demur.interventions.feature_sets import along
from demur.saes import load_sae, save_features, save_sae
from demur.types import Direction, Feature, FeatureSet, Site, SteeringVector

SITE, OTHER = Site(1, "post"), Site(2, "post")
D = 8
NORMS = {SITE: 10.0, OTHER: 20.0}


def drawn(seed):
    return torch.randn(D, generator=torch.Generator().manual_seed(seed))


R = Direction(drawn(0) / drawn(0).norm(), SITE, 10.0)
V = SteeringVector({SITE: drawn(1), OTHER: drawn(2)}, NORMS)


@pytest.fixture
def found(random_sae, tmp_path):
    """A feature set over two sites, its SAEs in folders, and its file."""
    saes = {s: load_sae(save_sae(random_sae(site=s, d_in=D, seed=i), tmp_path / str(s))) for i, s in enumerate(NORMS)}
    features = (Feature(OTHER, 5), Feature(SITE, 7), Feature(OTHER, 2))
    origin = {"saes": {str(s): sae.source for s, sae in saes.items()}, "norms": {str(s): n for s, n in NORMS.items()}}
    made = FeatureSet(features, {s: sae.sha256 for s, sae in saes.items()}, origin)
    return made, saes, save_features(made, tmp_path / "features.json")


def same(a, b):
    assert a.sites == b.sites
    for site, delta in b.deltas.items():
        torch.testing.assert_close(a.deltas[site], delta)


@pytest.mark.parametrize("ending", ["safetensors", "gguf", "svec", "pt"])
def test_add_takes_a_steering_vector_of_every_format_at_its_own_length(tmp_path, ending):
    path = write_vector(V, tmp_path / f"v.{ending}")
    sites = {SITE: Site(2), OTHER: Site(3)} if ending == "svec" else {SITE: SITE, OTHER: OTHER}
    for dose, factor in (("", 1.0), (":", 1.0), (":-0.5", -0.5), (":2", 2.0)):
        made = parse_steer(f"add:{path}{dose}")
        assert made.sites == set(sites.values())
        for site, value in V.vectors.items():
            torch.testing.assert_close(made.deltas[sites[site]], factor * value)  # pyright: ignore


def test_a_relative_dose_takes_a_vectors_norms_and_says_what_to_do_without(tmp_path):
    path = write_vector(V, tmp_path / "v.safetensors")
    made = parse_steer(f"add:{path}:0.5r")
    for site, norm in NORMS.items():
        assert float(made.deltas[site].norm()) == pytest.approx(0.5 * norm)  # pyright: ignore
    bare = write_vector(V, tmp_path / "v.gguf")
    with pytest.raises(BadSpec, match=r"needs the activation norm at 1.post, .*; give a dose without r"):
        parse_steer(f"add:{bare}:0.5r")


def test_a_direction_is_added_ablated_and_scaled_as_in_code(tmp_path):
    path = save_direction(R, tmp_path / "r.safetensors")
    for text, arm in {
        "add:{}": add(R, 1.0, relative=True),
        "add:{}:0.5r": add(R, 0.5, relative=True),
        "add:{}:12": add(R, 12.0),
        "ablate:{}": ablate(R),
        "ablate:{}:0.3": ablate(R, dose=0.3),
        "scale:{}:-2": scale(R, -2.0),
    }.items():
        assert parse_steer(text.format(path)).spec() == arm.spec()


@pytest.mark.parametrize("ending", ["safetensors", "gguf", "svec", "pt"])
def test_a_vector_of_one_site_is_ablated_along_its_unit_direction(tmp_path, ending):
    path = write_vector(SteeringVector({SITE: 7 * R.vector}), tmp_path / f"v.{ending}")
    torch.testing.assert_close(parse_steer(f"ablate:{path}").axis, R.vector)  # pyright: ignore
    assert parse_steer(f"scale:{path}:0.5").sites == {Site(2) if ending == "svec" else SITE}
    several = write_vector(V, tmp_path / f"several.{ending}")
    with pytest.raises(BadSpec, match="has 2 sites .* add it, or give a vector of one site"):
        parse_steer(f"ablate:{several}")


def test_features_are_added_along_the_sum_of_their_unit_decoder_rows(found):
    features, saes, path = found
    rows = {site: sae.weights["W_dec"] for site, sae in saes.items()}
    units = {SITE: rows[SITE][7] / rows[SITE][7].norm()}
    two = rows[OTHER][5] / rows[OTHER][5].norm() + rows[OTHER][2] / rows[OTHER][2].norm()
    units[OTHER] = two / two.norm()
    for dose, lengths in (
        ("", NORMS),
        (":0.5r", {site: norm / 2 for site, norm in NORMS.items()}),
        (":-3", dict.fromkeys(NORMS, -3.0)),
    ):
        made = parse_steer(f"add:{path}{dose}")
        assert made.sites == set(NORMS)
        for site, length in lengths.items():
            torch.testing.assert_close(made.deltas[site], length * units[site])  # pyright: ignore
    same(add(features, 0.5, relative=True), parse_steer(f"add:{path}:0.5r"))
    same(add(along(features, saes), 2.0), add(features, 2.0))
    bare = replace(features, origin={"saes": features.origin["saes"]})
    with pytest.raises(BadSpec, match="needs the activation norm"):
        add(bare, 1.0, relative=True)


def test_rows_that_cancel_have_no_direction(found, random_sae):
    sae = random_sae(site=SITE, d_in=D)
    weights = {**sae.weights, "W_dec": sae.weights["W_dec"].clone()}
    weights["W_dec"][1] = -2 * weights["W_dec"][0]
    sae = replace(sae, weights=weights)
    with pytest.raises(BadVector, match=r"sum of the latents' decoder rows at 1.post: every entry is zero"):
        along(FeatureSet((Feature(SITE, 0), Feature(SITE, 1)), {SITE: sae.sha256}), {SITE: sae})


def test_latents_are_clamped_in_code_as_simply_as_in_words(found):
    features, saes, path = found
    unit = 15.0 / 3**0.5
    for text, arm in {
        "clamp:{}:12": clamp_features(features, 12.0),
        "clamp:{}:0.3r": clamp_features(features, 0.3, relative=True),
        "suppress:{}": multiply_features(features),
        "suppress:{}:0": multiply_features(features, 0.0),
        "suppress:{}:-1": multiply_features(features, -1.0, saes),
    }.items():
        assert parse_steer(text.format(path)).spec() == arm.spec()
    relative = clamp_features(features, 0.3, relative=True).spec()
    assert relative == clamp_features(features, 0.3 * unit, saes=saes).spec()


def test_an_intervention_and_a_spec_are_what_they_are(tmp_path):
    assert parse_steer(ablate(R)).spec() == ablate(R).spec()
    write_spec(ablate(R), tmp_path / "steer.json")
    assert parse_steer(str(tmp_path / "steer.json")).spec() == ablate(R).spec()


def test_a_colon_in_a_path_is_part_of_it(tmp_path):
    (tmp_path / "a:b").mkdir()
    path = save_direction(R, tmp_path / "a:b" / "r.safetensors")
    assert parse_steer(f"add:{path}").spec() == add(R, 1.0, relative=True).spec()
    assert parse_steer(f"add:{path}:2").spec() == add(R, 2.0).spec()


def test_a_wrong_file_is_named_for_what_it_is(tmp_path, found):
    table = tmp_path / "mine.csv"
    table.write_text("prompt\nhello\n")
    for text in (f"add:{table}", f"add:{table}:1r", f"ablate:{table}", f"scale:{table}:2"):
        with pytest.raises(BadFile, match=r"mine.csv is no vector: those end in .safetensors, .gguf, .svec, .pt, .pth"):
            parse_steer(text)
    save_file({"vector": torch.ones(D)}, tmp_path / "fit.safetensors", {"kind": "demur.fit"})
    with pytest.raises(BadFile, match="a fit that a run keeps for its own reruns"):
        parse_steer(f"add:{tmp_path / 'fit.safetensors'}")
    save_file({"weight": torch.ones(D)}, tmp_path / "other.safetensors")
    with pytest.raises(BadFile, match="other.safetensors"):
        parse_steer(f"add:{tmp_path / 'other.safetensors'}")
    torch.save(torch.ones(D), tmp_path / "lone.pt")
    with pytest.raises(InputError, match="holds one vector and not where it belongs"):
        parse_steer(f"add:{tmp_path / 'lone.pt'}")
    for ending in ("safetensors", "gguf", "svec", "pt"):
        with pytest.raises(BadFile, match=rf"none.{ending}"):
            parse_steer(f"add:{tmp_path / 'none'}.{ending}:2")
    for op in ("ablate", "scale"):
        with pytest.raises(BadSpec, match="latents, not one direction .* use suppress:FEATURES.json"):
            parse_steer(f"{op}:{found[2]}")


def test_a_vector_of_another_model_is_refused(tmp_path):
    path = write_vector(replace(V, origin={"weights": "f" * 64}), tmp_path / "v.safetensors")
    assert parse_steer(f"add:{path}", "f" * 64).sites == set(NORMS)
    with pytest.raises(BadFile, match="was fitted on a model with weights ffffffffffff"):
        parse_steer(f"add:{path}", "0" * 64)


def test_a_scale_without_a_factor_is_refused_because_it_would_do_nothing(tmp_path):
    path = save_direction(R, tmp_path / "r.safetensors")
    for line in (f"scale:{path}", f"scale:{path}:"):
        with pytest.raises(BadSpec, match=r"says no factor; write scale:.*r\.safetensors:0\.5"):
            parse_steer(line)
    assert parse_steer(f"scale:{path}:1").sites == frozenset()


def test_the_file_of_a_spec_is_a_path_too(tmp_path):
    write_spec(add(R, 1.5), tmp_path / "s.json")
    assert parse_steer(tmp_path / "s.json").spec() == add(R, 1.5).spec()


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (R, r"a Direction alone .* give demur\.add\(it, 0\.3, relative=True\), or demur\.ablate"),
        (V, r"a SteeringVector alone .* give demur\.add"),
        (FeatureSet(()), r"a FeatureSet alone .* demur\.clamp_features"),
        (torch.ones(D), r"a Tensor is no steering; give an intervention, as demur\.add"),
        (3, "a int is no steering"),
    ],
)
def test_what_is_no_steering_is_refused_with_what_to_do(given, said):
    with pytest.raises(InputError, match=said):
        parse_steer(given)


@pytest.mark.unchecked
@pytest.mark.parametrize("make", [lambda one: add(one, 1.0), ablate, lambda one: scale(one, 0.5)])
def test_an_operation_on_what_is_no_vector_says_how_to_get_one(make, tmp_path):
    for path in ("x.gguf", tmp_path / "x.gguf"):
        with pytest.raises(InputError, match=r"is a path, not a vector; read it: demur\.load_vector\('.*x\.gguf'\)"):
            make(path)
    with pytest.raises(InputError, match=r"demur\.load_features\('f\.json'\)"):
        make("f.json")
    with pytest.raises(InputError, match=r"shape \[8\] does not say where .*site=\"12\.pre\""):
        make(torch.ones(D))
    with pytest.raises(InputError, match="a Add is no vector"):
        make(add(R, 1.0))
