"""Artifacts print in one line: where they stand, how wide they are, where they are from."""

import pytest
import torch

from demur.types import Direction, Feature, FeatureSet, Site, SteeringVector, Subspace

AXIS = torch.nn.functional.normalize(torch.ones(896), dim=0)
ORIGIN = {"method": "difference of means", "model": "tiny", "weights": "a" * 64, "candidates": list(range(500))}
PRINTED = [
    (Direction(AXIS, Site(12), 7.125, ORIGIN),
     "Direction(12.pre, width 896, activation norm 7.125; difference of means, tiny)"),
    (Direction(AXIS, Site(12), float("nan")), "Direction(12.pre, width 896, activation norm nan)"),
    (SteeringVector({Site(3, "post"): 2 * AXIS, Site(4): AXIS}, {}, {"file": "v.gguf", "model": ""}),
     "SteeringVector(3.post of length 2, 4.pre of length 1, width 896; v.gguf)"),
    (SteeringVector({}), "SteeringVector(, width 0)"),
    (Subspace(torch.eye(3, 896), Site(2, "mid"), ORIGIN),
     "Subspace(2.mid, 3 directions of width 896; difference of means, tiny)"),
    (FeatureSet(tuple(Feature(Site(9, "post"), i) for i in range(6)), {Site(9, "post"): "a" * 64}, ORIGIN),
     "FeatureSet(9.post/0, 9.post/1, 9.post/2, 9.post/3 and 2 more; difference of means, tiny)"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), PRINTED, ids=lambda value: type(value).__name__)
def test_an_artifact_prints_in_one_line(value, text):
    assert repr(value) == str(value) == text


@pytest.mark.parametrize("site", [Site(0), Site(31, "attn_out"), Site(999999, "mlp_out")])
def test_a_site_is_read_as_it_is_written(site):
    assert Site.parse(str(site)) == site


@pytest.mark.parametrize(
    "text", ["", "3", "3.", ".pre", "-3.pre", "3.5.pre", "3.after", "x.pre", " 3.pre", "1" * 7 + ".pre"]
)
def test_other_text_is_no_site(text):
    with pytest.raises(ValueError, match="is no site; write LAYER.POINT, as 12.pre"):
        Site.parse(text)
