"""Files that version 0.1 wrote (tests/directions/data) hold what they held."""

from pathlib import Path

import pytest
import torch

from demur.directions.anything import load_direction
from demur.directions.artifact import load_sealed_vector
from demur.directions.exchange import load_vector
from demur.directions.sealed import read_sealed
from demur.errors import BadFile
from demur.fitting.cache import fit_of
from demur.fitting.candidates import Candidate
from demur.fitting.openings import Openings
from demur.types import Site

DATA = Path(__file__).parent / "data"
VECTOR = [-0.05163424089550972, 0.2765201926231384, 0.33303847908973694, -0.3919634222984314, 0.5947246551513672,
          -0.3147500157356262, -0.12508884072303772, 0.4334838390350342]  # fmt: skip
ORIGIN = {"method": "difference of means", "weights": "a" * 64, "scores": {"kl": 0.1 + 0.2}, "ü": None}


def test_an_older_direction_loads():
    found = load_direction(DATA / "direction-0.1.safetensors", "a" * 64)
    assert found.vector.equal(torch.tensor(VECTOR))
    assert (found.site, found.norm, found.origin) == (Site(3, "mid"), 7.1, ORIGIN)
    assert load_vector(DATA / "direction-0.1.safetensors").vectors[Site(3, "mid")].equal(torch.tensor(VECTOR))


def test_an_older_vector_loads():
    found = load_sealed_vector(DATA / "vector-0.1.safetensors", "a" * 64)
    rising = torch.arange(1.0, 9.0)
    assert list(found.vectors) == [Site(2, "pre"), Site(5, "post")]
    assert found.vectors[Site(2, "pre")].equal(rising) and found.vectors[Site(5, "post")].equal(-rising / 4)
    assert found.norms == {Site(2, "pre"): 6.5, Site(5, "post"): 1 / 3}
    assert found.origin == {"method": "mean of contrast pairs", "model": "tiny", "weights": "a" * 64}


def test_an_older_fit_loads_and_is_still_no_direction():
    path = DATA / "fit-0.1.safetensors"
    found = fit_of(read_sealed(path, "cached result", ["demur.fit"], "a" * 64))
    assert found.direction.vector.equal(torch.tensor(VECTOR))
    assert (found.direction.site, found.direction.norm, found.direction.origin) == (Site(3, "mid"), 7.1, ORIGIN)
    assert found.difference.vectors[Site(3, "mid")].equal(2.5 * torch.tensor(VECTOR))
    assert found.candidates == (Candidate(3, -1, -2.5, 0.05, 1.25), Candidate(4, -2, -1.5, 0.5, -1.0))
    assert found.openings == Openings(((5, 9), (7, 2)), 0.98, 12, 14)
    with pytest.raises(BadFile, match="a fit that a run keeps.*demur direction fit"):
        load_direction(path)
