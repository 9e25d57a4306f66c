import json
import math
from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from demur.errors import BadFile, BadSpec, BadVector
from demur.interventions import (
    Context,
    at,
    clamp,
    clamp_features,
    compile_batch,
    from_spec,
    multiply,
    multiply_features,
    parse_steer,
    splice,
)
from demur.saes import decode, encode, load_sae, save_features, save_sae
from demur.types import Feature, FeatureSet, Site

KINDS = ("relu", "topk", "jumprelu", "gated")
SITE, OTHER = Site(1), Site(2, "mlp_out")
D = 8
CONTEXT = Context(torch.arange(5)[None].expand(3, -1), torch.tensor([[3], [4], [5]]))
SETTINGS = [
    {},
    {"apply_b_dec_to_input": False},
    {"normalisation": "layer_norm"},
    {"normalisation": "constant_norm_rescale"},
]
every_kind = pytest.mark.parametrize("kind", KINDS)
either_error = pytest.mark.parametrize("keep", [True, False])


def stream(*shape, seed=1, dtype=torch.float32):
    return (2 * torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed)) + 0.5).to(dtype)


def run(intervention, x, context=CONTEXT):
    return intervention.edit(x, SITE, context) if intervention.sites else x


def close(a, b, within=1e-5):
    torch.testing.assert_close(a, b, rtol=within, atol=within)


def by_hand(sae, x, latents, change, keep):
    """Through all latents, with the operators that are held against sae-lens."""
    f = encode(sae, x)
    new = f.clone()
    for place, latent in enumerate(latents):
        new[..., latent] = change(f[..., latent], place)
    return x + decode(sae, new, x) - decode(sae, f, x) if keep else decode(sae, new, x)


@every_kind
@either_error
@pytest.mark.parametrize("fields", SETTINGS)
def test_clamps_and_factors_equal_the_change_of_all_latents_decoded(random_sae, kind, keep, fields):
    sae, x = random_sae(kind, **fields), stream(3, 5)
    latents, numbers = [7, 0, 23, 11, 4, 19], [0.0, 3.0, -2.0, 0.5, 12.0, 1.0]
    held = by_hand(sae, x, latents, lambda f, i: torch.full_like(f, numbers[i]), keep)
    close(run(clamp(sae, latents, numbers, keep), x), held)
    close(run(clamp(sae, latents, 2.5, keep), x), by_hand(sae, x, latents, lambda f, i: torch.full_like(f, 2.5), keep))
    scaled = by_hand(sae, x, latents, lambda f, i: f * numbers[i], keep)
    close(run(multiply(sae, latents, numbers, keep), x), scaled)
    assert not torch.allclose(held, scaled)
    assert (encode(sae, x)[..., latents] > 0).any()


def test_latents_that_are_scaled_by_their_decoder_rows_norm_add_unit_rows(random_sae):
    sae, x = random_sae("topk", rescale_acts_by_decoder_norm=True), stream(3, 5)
    for keep in (True, False):
        close(run(multiply(sae, [3, 5], -1.0, keep), x), by_hand(sae, x, [3, 5], lambda f, _: -f, keep))


@every_kind
def test_holding_a_latent_at_its_own_value_changes_nothing(random_sae, kind):
    sae, x = random_sae(kind), stream(1, 1)
    latents = [2, 9, 17]
    close(run(clamp(sae, latents, encode(sae, x)[0, 0, latents]), x, CONTEXT.rows(torch.tensor([0]))), x)


@every_kind
def test_a_factor_of_zero_takes_the_latents_share_out_of_the_stream(random_sae, kind):
    sae, x = random_sae(kind), stream(3, 5)
    f = encode(sae, x)[..., 7, None]
    assert f.any()
    close(run(multiply(sae, [7], 0.0), x), x - f * sae.weights["W_dec"][7])
    close(run(multiply(sae, [7], -2.0), x), x - 3 * f * sae.weights["W_dec"][7])


def test_tokens_whose_latents_do_not_fire_are_left_exactly_as_they_were(random_sae):
    sae, x = random_sae("jumprelu"), stream(3, 5)
    fires = encode(sae, x) > 0
    latent = next(j for j in range(sae.d_sae) if 0 < fires[..., j].sum() < 15)
    new, here = run(multiply(sae, [latent], -1.0), x), fires[..., latent]
    assert new[~here].equal(x[~here])
    assert (new[here] != x[here]).any(-1).all()


@every_kind
def test_a_splice_is_what_the_sae_makes_of_the_stream(random_sae, kind):
    sae, x = random_sae(kind), stream(3, 5)
    close(run(splice(sae), x), decode(sae, encode(sae, x)))
    close(run(multiply(sae, [1, 2], 1.0, keep_error=False), x), run(splice(sae), x))


@every_kind
def test_nothing_to_change_means_no_sites(random_sae, kind):
    sae = random_sae(kind)
    for nothing in (clamp(sae, [], 3.0), multiply(sae, [], 0.0), multiply(sae, [1, 2], 1.0), multiply(sae, [1], [1.0])):
        assert not nothing.sites
        assert compile_batch([nothing], CONTEXT, torch.zeros(1)) == {}
    for something in (clamp(sae, [1], 0.0), multiply(sae, [1, 2], [1.0, 0.5]), splice(sae)):
        assert something.sites == {SITE}


@every_kind
@either_error
@pytest.mark.parametrize("shared", [True, False])
def test_rows_stacked_with_their_own_latents_and_numbers_equal_rows_alone(random_sae, kind, keep, shared):
    for fields in SETTINGS:
        sae, x = random_sae(kind, **fields), stream(6, 5)
        before = x.clone()
        latents = [[1, 2, 3]] * 6 if shared else [[1, 2, 3], [5, 2, 8], [23, 0, 1], [4, 5, 6], [9, 8, 7], [3, 2, 1]]
        rows = [clamp(sae, latents[i], [1.0, 0.0, 2.0 + i], keep) for i in range(3)]
        rows += [multiply(sae, latents[i], [-1.0, 0.0, 1.0 * i], keep) for i in range(3, 6)]
        assert len({row.shape() for row in rows}) == 2
        context = Context(torch.arange(5)[None].expand(6, -1), torch.tensor([[4]] * 6))
        edit = compile_batch(rows, context, x)[SITE]
        for width in (5, 1):
            together = edit(x[:, :width])
            for i, row in enumerate(rows):
                close(together[i : i + 1], run(row, x[i : i + 1, :width]), 1e-6)
        assert x.equal(before)


def test_what_cannot_be_stacked_has_another_shape(random_sae):
    sae = random_sae()
    arms = [
        clamp(sae, [1], 2.0),
        clamp(sae, [1, 2], 2.0),
        clamp(sae, [1], 2.0, keep_error=False),
        multiply(sae, [1], 2.0),
        multiply(sae, [1], 1.0),
        clamp(random_sae(seed=1), [1], 2.0),
        clamp(random_sae(site=OTHER), [1], 2.0),
        splice(sae),
    ]
    assert len({arm.shape() for arm in arms}) == len(arms)
    assert clamp(sae, [1], 2.0).shape() == clamp(random_sae(), [5], [7.0]).shape()


@every_kind
@either_error
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_streams_dtype_is_kept_and_the_latents_are_computed_in_float32_or_wider(random_sae, kind, keep, dtype):
    sae, x = random_sae(kind), stream(3, 5, dtype=dtype)
    for arm in (clamp(sae, [7, 3], 2.0, keep), multiply(sae, [7, 3], -1.0, keep)):
        new = compile_batch([arm] * 3, CONTEXT, x)[SITE](x)
        assert new.dtype == dtype
        assert new.equal(run(arm, x))
        wide = run(arm, x.to(torch.promote_types(dtype, torch.float32)))
        assert new.equal(wide.to(dtype))


def test_weights_in_bf16_are_widened_once(random_sae):
    sae = random_sae("topk").to(dtype=torch.bfloat16)
    first, second = clamp(sae, [1], 2.0), multiply(sae, [4], 0.0, keep_error=False)
    assert first.whole is second.whole is not sae
    assert first.to(torch.zeros(1, dtype=torch.bfloat16)) is first
    close(run(first, stream(3, 5)), by_hand(sae, stream(3, 5), [1], lambda f, _: torch.full_like(f, 2.0), True))


def test_an_sae_is_kept_only_where_all_of_it_is_needed(random_sae):
    assert clamp(random_sae("jumprelu"), [1], 2.0).whole is None
    assert clamp(random_sae("topk"), [1], 2.0).whole is not None
    assert splice(random_sae()).whole is not None


def test_a_clamp_is_differentiable_in_the_stream(random_sae):
    for kind in KINDS:
        sae, x = random_sae(kind), stream(2, 3).requires_grad_()
        clamp(sae, [7, 3], 2.0).edit(x, SITE, CONTEXT).sum().backward()
        by_hand(
            sae, y := stream(2, 3).requires_grad_(), [7, 3], lambda f, _: torch.full_like(f, 2.0), True
        ).sum().backward()
        close(x.grad, y.grad)


@pytest.mark.parametrize(
    ("latents", "value", "message"),
    [
        ([1, 24], 1.0, "no latent 24 in this SAE; known: 0 to 23"),
        ([-1], 1.0, "no latent -1"),
        ([3, 1, 3], 1.0, "latent 3 is given more than once; give each latent once"),
        ([[1, 2]], 1.0, "latents are a list of indices"),
        ([1.5], 1.0, "latents are a list of indices"),
        (["a"], 1.0, "latents are a list of indices"),
        ([10**30], 1.0, "latents are a list of indices"),
        ([1], math.nan, "is not a finite number"),
        ([1, 2], [1.0, math.inf], "inf is not a finite number"),
        ([1], 1e39, "is not a finite number in float32's range"),
        ([1], True, "is not a finite number"),
        ([1], "2", "is not a finite number"),
        ([1, 2], [1.0], "for 2 latents; give one number, or one a latent"),
        ([1, 2], torch.ones(3), "for 2 latents; give one number, or one a latent"),
        ([1, 2], torch.ones(2, 2), "is not a finite number"),
    ],
)
def test_bad_latents_and_numbers_are_refused_in_one_line(random_sae, latents, value, message):
    for make in (clamp, multiply):
        with pytest.raises((BadSpec, TypeCheckError)) as caught:
            make(random_sae(), latents, value)
        if isinstance(caught.value, BadSpec):
            assert message in str(caught.value)
            assert "\n" not in str(caught.value)


def test_one_number_as_a_tensor_is_one_for_all(random_sae):
    sae, x = random_sae(), stream(3, 5)
    assert run(clamp(sae, torch.tensor([1, 2]), torch.tensor(3.0)), x).equal(run(clamp(sae, [1, 2], 3.0), x))


def test_a_stream_of_another_width_is_refused(random_sae):
    with pytest.raises(BadVector, match=r"stream at 1.pre has width 8; the SAE .* reads 6: give one of this model"):
        run(clamp(random_sae(d_in=6), [1], 2.0), stream(3, 5))


@every_kind
def test_a_spec_loads_the_same_clamp_from_the_saes_folder(random_sae, kind, tmp_path):
    sae = load_sae(save_sae(random_sae(kind), tmp_path / "sae"))
    arms = [
        clamp(sae, [5, 2], [0.1, -3.0]),
        clamp(sae, [5], 0.1, keep_error=False),
        multiply(sae, [5, 2], 1 / 3),
        multiply(sae, [5], -1.0, keep_error=False),
        splice(sae),
        multiply(sae, [5], 1.0),
        clamp(sae, [], 1.0),
    ]
    for arm in arms:
        again = from_spec(json.loads(json.dumps(arm.spec(), allow_nan=False)))
        assert again.spec() == arm.spec()
        assert (again.sites, again.shape(), again.reach) == (arm.sites, arm.shape(), "all")
        assert run(again, stream(3, 5)).equal(run(arm, stream(3, 5)))


def test_a_relative_folder_is_still_the_same_from_elsewhere(random_sae, tmp_path, monkeypatch):
    save_sae(random_sae(), tmp_path / "sae")
    monkeypatch.chdir(tmp_path)
    spec = clamp(load_sae("sae"), [1], 2.0).spec()
    monkeypatch.chdir("/")
    assert from_spec(spec).sites == {SITE}


def test_an_sae_in_no_file_has_no_spec(random_sae, tmp_path):
    for sae in (random_sae(), load_sae(save_sae(random_sae(), tmp_path)).to(dtype=torch.bfloat16)):
        with pytest.raises(BadSpec, match=r"this SAE is in no file; save_sae\(sae, folder\)"):
            clamp(sae, [1], 2.0).spec()


def test_a_spec_of_an_sae_that_changed_is_refused(random_sae, tmp_path):
    spec = clamp(load_sae(save_sae(random_sae(), tmp_path)), [1], 2.0).spec()
    save_sae(random_sae(seed=1), tmp_path)
    with pytest.raises(BadFile, match=r"holds an SAE with sha256 \w{12}..., not \w{12}...: the file changed; give"):
        from_spec(spec)
    with pytest.raises(BadFile, match="no folder"):
        from_spec({**spec, "sae": {"source": str(tmp_path / "gone"), "sha256": spec["sae"]["sha256"]}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sae": None}, "needs sae: {source"),
        ({"sae": {"source": "x"}}, "needs sae: {source"),
        ({"latents": 3}, "needs latents"),
        ({"latents": [True]}, "needs latents"),
        ({"latents": [1, 99]}, "no latent 99"),
        ({"values": None}, "needs latents: .* and values or factors"),
        ({"factors": [1.0]}, "needs latents: .* and values or factors"),
        ({"values": ["a"]}, "value a is not a finite number"),
        ({"values": [1.0, 2.0]}, "2 values for 1 latents"),
        ({"error": "lose"}, "needs error: keep or drop, not 'lose'"),
    ],
)
def test_a_malformed_spec_is_refused_with_what_it_needs(random_sae, tmp_path, change, message):
    spec = clamp(load_sae(save_sae(random_sae(), tmp_path)), [1], 2.0).spec()
    with pytest.raises(BadSpec, match=message):
        from_spec({**spec, **change})


@pytest.fixture
def found(random_sae, tmp_path):
    """A feature set over two sites, and its SAEs from their folders."""
    made = [random_sae("jumprelu"), random_sae("topk", OTHER, seed=1)]
    saes = {sae.site: load_sae(save_sae(sae, tmp_path / str(sae.site))) for sae in made}
    features = (Feature(OTHER, 5, 0.9), Feature(SITE, 7, 0.5), Feature(OTHER, 2, -0.1))
    origin = {"saes": {str(site): sae.source for site, sae in saes.items()}}
    return FeatureSet(features, {site: sae.sha256 for site, sae in saes.items()}, origin), saes


def test_a_feature_set_is_clamped_site_by_site(found):
    features, saes = found
    for arm, change in (
        (clamp_features(features, [1.0, 2.0, 3.0], saes=saes), clamp),
        (multiply_features(features, [1.0, 2.0, 3.0], saes=saes), multiply),
    ):
        assert arm.sites == {SITE, OTHER}
        x = stream(3, 5)
        for site, latents, amounts in ((SITE, [7], 2.0), (OTHER, [5, 2], [1.0, 3.0])):
            moved, alone = arm.edit(x, site, CONTEXT), change(saes[site], latents, amounts).edit(x, site, CONTEXT)
            first = (CONTEXT.positions == 0)[..., None]
            assert bool(first.any())
            close(moved, torch.where(first, x, alone))
    dropped = clamp_features(features, 4.0, saes=saes, keep_error=False)
    alone = at("after-first", clamp(saes[SITE], [7], 4.0, keep_error=False))
    close(dropped.edit(x, SITE, CONTEXT), alone.edit(x, SITE, CONTEXT))


def test_a_feature_set_wants_its_own_saes(found, random_sae):
    features, saes = found
    with pytest.raises(BadFile, match=r"no SAE for the features at 2.mlp_out; known: 1.pre"):
        clamp_features(features, 1.0, saes={SITE: saes[SITE]})
    with pytest.raises(BadFile, match=r"features at 1.pre are of an SAE with sha256 \w{12}, not of .*; give theirs"):
        multiply_features(features, 1.0, saes={**saes, SITE: random_sae("relu")})
    with pytest.raises(BadFile, match=r"sha256 \(none\)"):
        clamp_features(FeatureSet(features.features), 1.0, saes=saes)
    with pytest.raises(BadSpec, match="2 values for 3 latents"):
        clamp_features(features, [1.0, 2.0], saes=saes)


def test_steering_by_features_in_words_is_steering_in_code(found, tmp_path):
    features, saes = found
    path = save_features(features, tmp_path / "features.json")
    for text, arm in {
        "clamp:{}:12": clamp_features(features, 12.0, saes=saes),
        "clamp:{}:-1.5": clamp_features(features, -1.5, saes=saes),
        "suppress:{}": multiply_features(features, 0.0, saes=saes),
        "suppress:{}:-1": multiply_features(features, -1.0, saes=saes),
    }.items():
        assert parse_steer(text.format(path)).spec() == arm.spec()


def test_a_relative_clamp_is_of_the_streams_norms_and_the_number_of_latents(found, tmp_path):
    features, saes = found
    sites = sorted({str(feature.site) for feature in features.features})
    norms = {site: 10.0 + i for i, site in enumerate(sites)}
    path = save_features(replace(features, origin={**features.origin, "norms": norms}), tmp_path / "features.json")
    unit = sum(norms.values()) / len(norms) / len(features.features) ** 0.5
    arm = clamp_features(features, 0.5 * unit, saes=saes)
    assert parse_steer(f"clamp:{path}:0.5r").spec() == arm.spec()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clamp:{}", r"says no value; write clamp:.*features.json:0.3r"),
        ("clamp:{}:", "says no value"),
        ("clamp:{}:1r", "does not say the streams' norms"),
        ("suppress:{}:1r", "'1r' is not a number"),
        ("suppress:{}:x", "'x' is not a number"),
        ("clamp:{}:nan", "is not a finite number"),
        ("clamp:", "neither a .json spec nor"),
        ("suppress:nowhere.json", "no feature set at nowhere.json"),
    ],
)
def test_a_bad_steer_on_features_is_refused(found, tmp_path, text, message):
    path = save_features(found[0], tmp_path / "features.json")
    with pytest.raises((BadSpec, BadFile), match=message):
        parse_steer(text.format(path))


def test_without_a_direction_nothing_is_added_along_it(random_sae):
    one, x = random_sae("jumprelu"), stream(3, 5)
    r = torch.nn.functional.normalize(torch.randn(D, generator=torch.Generator().manual_seed(5)), dim=0)
    features = FeatureSet((Feature(SITE, 3), Feature(SITE, 7)), {SITE: one.sha256})
    moved = run(multiply_features(features, -2.0, saes={SITE: one}, without=r), x) - x
    whole = run(multiply_features(features, -2.0, saes={SITE: one}), x) - x
    close(moved @ r, torch.zeros(3, 5), 1e-4)
    close(moved, whole - (whole @ r)[..., None] * r, 1e-4)


def test_rows_that_leave_different_directions_out_are_not_stacked_as_one(random_sae):
    one, x = random_sae("relu"), stream(3, 5)
    features = FeatureSet((Feature(SITE, 3),), {SITE: one.sha256})
    asides = [None, torch.eye(D)[0], torch.eye(D)[1]]
    parts = [clamp_features(features, 4.0, saes={SITE: one}, without=aside) for aside in asides]
    together = compile_batch(parts, CONTEXT, x)[SITE](x)
    for row, part in enumerate(parts):
        close(together[row : row + 1], run(part, x[row : row + 1], CONTEXT.rows(torch.tensor([row]))), 1e-5)


def test_a_direction_is_left_out_only_with_the_error_kept(random_sae):
    one = random_sae("relu")
    features = FeatureSet((Feature(SITE, 3),), {SITE: one.sha256})
    with pytest.raises(BadSpec, match="keep the error"):
        clamp_features(features, 2.0, saes={SITE: one}, keep_error=False, without=torch.ones(D))
    with pytest.raises(BadVector, match="width 5"):
        clamp_features(features, 2.0, saes={SITE: one}, without=torch.ones(5))


@pytest.mark.parametrize("made", [clamp, multiply])
def test_a_latent_that_writes_nothing_is_refused_by_its_number(random_sae, made):
    sae = random_sae("relu")
    weights = {**sae.weights, "W_dec": sae.weights["W_dec"].clone()}
    weights["W_dec"][5] = 0.0
    dead = replace(sae, weights=weights)
    assert made(dead, [4, 6], 2.0).sites
    with pytest.raises(BadVector, match="latent 5 of .* writes nothing, for its decoder row is zero"):
        made(dead, [4, 5, 6], 2.0)
