import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import UnknownName
from demur.saes import hook_name, site_of
from demur.types import POINTS, Site

SITES = {
    "blocks.18.hook_resid_pre": Site(18, "pre"),
    "blocks.5.hook_resid_post": Site(5, "post"),
    "blocks.0.hook_resid_mid": Site(0, "mid"),
    "blocks.3.hook_attn_out": Site(3, "attn_out"),
    "blocks.31.hook_mlp_out": Site(31, "mlp_out"),
    "blocks.4.hook_in": Site(4, "pre"),
    "blocks.4.hook_out": Site(4, "post"),
    "model.layers.12": Site(12, "post"),
    "model.layers.12.output": Site(12, "post"),
    "model.layers.12.input": Site(12, "pre"),
    "model.language_model.layers.30": Site(30, "post"),
    "model.layers.2.self_attn": Site(2, "attn_out"),
    "model.layers.2.mlp.output": Site(2, "mlp_out"),
    "model.layers.17.post_feedforward_layernorm.output": Site(17, "mlp_out"),
    "transformer.h.7": Site(7, "post"),
    "gpt_neox.layers.6.attention": Site(6, "attn_out"),
    "layers.12": Site(12, "post"),
    "layers.0.mlp": Site(0, "mlp_out"),
    "h.3.attn": Site(3, "attn_out"),
    "resid_post_layer_8": Site(8, "post"),
    "resid_pre_layer_8": Site(8, "pre"),
    "mlp_out_layer_1": Site(1, "mlp_out"),
    "L15R-8x": Site(15, "post"),
    "Llama3_1-8B-Base-L15R-8x": Site(15, "post"),
    "Llama3_1-8B-Base-L0A-32x": Site(0, "attn_out"),
    "L31M": Site(31, "mlp_out"),
}


@pytest.mark.parametrize(("hook", "site"), SITES.items())
def test_a_hook_name_means_this_site(hook, site):
    assert site_of(hook) == site


NO_SITES = [
    "",
    "hook_embed",
    "embed_tokens",
    "blocks.3.attn.hook_z",
    "blocks.3.hook_mlp_in",
    "blocks.3.mlp.hook_post",
    "blocks.8.ln2.hook_normalized",
    "model.layers.17.self_attn.o_proj.input",
    "model.layers.3.post_attention_layernorm",
    "model.layers.-1",
    "blocks.x.hook_resid_pre",
    "Llama3_1-8B-Base-L15TC-8x",
    "layers.12.mlp.act_fn",
    "attention_layer_3",
]


@pytest.mark.parametrize("hook", NO_SITES)
def test_what_is_no_site_of_the_stream_is_refused_with_what_is(hook):
    with pytest.raises(UnknownName, match=r"is no site that demur knows; known: blocks.N.hook_resid_pre"):
        site_of(hook)


@pytest.mark.parametrize("model", ["google/gemma-2-2b-it", "gemma-3-4b-pt", "allenai/OLMo-2-1124-7B"])
def test_a_module_read_before_its_norm_is_no_site(model):
    with pytest.raises(UnknownName, match="read before the norm that follows it"):
        site_of("layers.4.mlp", model)
    assert site_of("layers.4", model) == Site(4, "post")
    assert site_of("blocks.4.hook_mlp_out", model) == Site(4, "mlp_out")


@pytest.mark.parametrize("model", ["google/gemma-2b", "meta-llama/Llama-2-7b", ""])
def test_other_families_write_what_the_module_gives(model):
    assert site_of("layers.4.mlp", model) == Site(4, "mlp_out")


@given(st.integers(0, 200), st.sampled_from(POINTS))
def test_every_site_has_a_name_that_leads_back(layer, point):
    assert site_of(hook_name(Site(layer, point))) == Site(layer, point)
