"""What an intervention gets from its fields."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import Tensor

from demur.errors import BadSpec, BadVector
from demur.interventions import (
    Context,
    Intervention,
    Scalar,
    Vector,
    ablate,
    add,
    at,
    chain,
    clamp,
    compile_batch,
    from_spec,
    patch,
    scale,
)
from demur.interventions.intervention import OPS
from demur.types import Direction, Site, SteeringVector

A, B, C, E = Site(0), Site(1, "mid"), Site(2, "post"), Site(3)
D = 4
CONTEXT = Context(torch.arange(3)[None], torch.tensor([[2]]))


@dataclass(frozen=True, eq=False)
class Everything(Intervention):
    """A field of every kind."""

    vectors: Mapping[Site, Vector]
    factor: Scalar
    rows: Tensor
    where: Site
    sites_: frozenset[Site]
    inner: Intervention
    parts: tuple[Intervention, ...]
    mode: Literal["up", "down"]
    name: str
    count: int
    sharp: bool
    share: float = 0.5

    def edit(self, resid, site, context):
        for vector in self.vectors.values():
            resid = resid + self.factor * vector
        resid = resid + (resid[..., None, :] * self.rows).sum(-2)
        return self.inner.edit(resid, site, context) if site in self.inner.sites else resid


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Everything has its op only here: what a spec may name is the same for all tests."""
    monkeypatch.setitem(OPS, "everything", Everything)
    monkeypatch.setattr(Everything, "op", "everything")


def vector(seed, *shape):
    return torch.randn(*(shape or (D,)), generator=torch.Generator().manual_seed(seed))


def plus(seed, site=A):
    return add(SteeringVector({site: vector(seed)}), 1.0)


def everything(seed=0, **other):
    given = {
        "vectors": {A: vector(seed), B: vector(seed + 1)},
        "factor": torch.tensor(0.5 + seed),
        "rows": vector(seed, 2, D),
        "where": C,
        "sites_": frozenset([A, E]),
        "inner": plus(seed + 2),
        "parts": (at("last", plus(seed + 3, B), 2),),
        "mode": "up",
        "name": "x",
        "count": 3,
        "sharp": True,
    }
    return Everything(**{**given, **other})


def test_the_sites_are_all_that_the_fields_name():
    assert everything().sites == {A, B, C, E}
    assert not chain().sites


def test_shape_tells_apart_whatever_is_no_tensors_content():
    same = everything(5)
    assert same.shape() == everything().shape()
    assert hash(same.shape()) == hash(everything().shape())
    others = [
        everything(vectors={A: vector(0)}),
        everything(rows=vector(0, 3, D)),
        everything(where=E),
        everything(sites_=frozenset([A])),
        everything(inner=plus(2, B)),
        everything(parts=()),
        everything(mode="down"),
        everything(name="y"),
        everything(count=4),
        everything(sharp=False),
        everything(share=0.25),
    ]
    assert len({one.shape() for one in (everything(), *others)}) == 12


def test_a_stacked_batch_equals_its_rows_one_by_one():
    rows = [everything(seed) for seed in range(3)]
    context = Context(torch.arange(5)[None].expand(3, -1), torch.tensor([[3], [4], [5]]))
    x = torch.randn(3, 5, D)
    stacked = rows[0].stack(rows)
    assert stacked.vectors[A].shape == (3, 1, D)
    assert stacked.factor.shape == (3, 1, 1)
    assert stacked.rows.shape == (3, 1, 2, D)
    assert stacked.parts[0].inner.deltas[B].shape == (3, 1, D)  # pyright: ignore[reportAttributeAccessIssue]
    together = compile_batch(rows, context, x)[A](x)
    for i, row in enumerate(rows):
        alone = row.edit(x[i : i + 1], A, context.rows(torch.tensor([i])))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-6, atol=1e-6)


def test_tensors_are_cast_wherever_they_stand_and_patches_stay_wide():
    small = everything(parts=(at("last", plus(3)), patch({A: vector(0, 2, D)}))).to(
        torch.zeros(1, dtype=torch.bfloat16)
    )
    inner, (last, wide) = small.inner, small.parts
    tensors = [*small.vectors.values(), small.factor, small.rows, inner.deltas[A], last.inner.deltas[A]]  # pyright: ignore
    assert {one.dtype for one in tensors} == {torch.bfloat16}
    assert wide.deltas[A].dtype == torch.float32  # pyright: ignore[reportAttributeAccessIssue]
    assert (small.name, small.sites) == ("x", {A, B, C, E})


def test_the_spec_has_the_fields_by_name_and_comes_back():
    made = everything()
    record = json.loads(json.dumps(made.spec(), allow_nan=False))
    assert record["sites"] == ["0.pre", "3.pre"]
    assert record["where"] == "2.post"
    assert record["factor"] == 0.5
    assert list(record["vectors"]) == ["0.pre", "1.mid"]
    again = from_spec(record)
    assert isinstance(again, Everything)
    assert again.spec() == made.spec()
    assert again.shape() == made.shape()
    assert again.rows.equal(made.rows)
    assert from_spec({name: value for name, value in record.items() if name != "share"}).share == 0.5  # pyright: ignore


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": [1]}, r"an everything spec needs vectors: \{LAYER.POINT: tensor\}"),
        ({"vectors": {"0.pre": [0, 0]}}, "vector at 0.pre: every entry is zero"),
        ({"factor": "a"}, "factor a is not a finite number"),
        ({"rows": [[1, float("nan")]]}, "rows: 1 of 2 entries are NaN"),
        ({"where": "x"}, "'x' is not a site"),
        ({"sites": "0.pre"}, r"needs sites: \[LAYER.POINT, ...\]"),
        ({"inner": 3}, "an object with an 'op'"),
        ({"parts": {}}, r"needs parts: \[intervention, ...\]"),
        ({"mode": "left"}, "needs mode: one of up, down, not 'left'"),
        ({"name": 3}, "needs name: a text, not '3'"),
        ({"count": True}, "needs count: a whole number, not 'True'"),
        ({"sharp": 1}, "needs sharp: true or false, not '1'"),
        ({"share": float("inf")}, "share inf is not a finite number"),
    ],
)
def test_a_field_of_another_kind_is_refused_with_what_it_needs(change, message):
    with pytest.raises((BadSpec, BadVector), match=message):
        from_spec({**everything().spec(), **change})


def test_wrappers_pass_on_where_and_how_long_something_acts(random_sae):
    r = Direction(vector(1) / vector(1).norm(), A, 1.0)
    long = patch({A: vector(0, 7, D)})
    sae = random_sae(site=A, d_in=D)
    leaves = [plus(0), ablate(r, [A]), scale(r, 2.0), clamp(sae, [1], 2.0), long]
    assert [one.until for one in leaves] == [0, 0, 0, 0, 7]
    assert [one.reach for one in leaves] == ["all"] * 5
    assert not any(one.counts_back for one in leaves)
    assert chain(plus(0), at("prompt", chain(long))).until == 7
    assert not chain(plus(0), at("prompt", chain(long)), at("after-first", plus(0))).counts_back
    assert chain(plus(0), at("prompt", chain(at("last", plus(0), 2)))).counts_back
    # One that nobody here knows may look at anything: taken to be so unless its class says otherwise.
    assert Unknown(A).counts_back
    assert at("all", chain(Unknown(A))).counts_back


@dataclass(frozen=True, eq=False)
class Unknown(Intervention):
    """An intervention without an op."""

    site: Site

    def edit(self, resid, site, context):
        return resid + 1


def test_one_without_an_op_runs_and_has_no_spec():
    assert compile_batch([Unknown(A)], CONTEXT, torch.zeros(1))[A](torch.zeros(1, 3, D)).eq(1).all()
    with pytest.raises(BadSpec, match="Unknown has no spec; name its op"):
        at("all", Unknown(A)).spec()


def test_two_classes_cannot_have_one_op():
    with pytest.raises(TypeError, match="Add has the op 'add' already; give .*Again another"):

        class Again(Intervention, op="add"):
            pass

    assert OPS["add"].__name__ == "Add"
