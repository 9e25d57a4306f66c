import pytest
import torch

from demur.directions.cosines import basis_cosines, cosines
from demur.directions.vectors import steering_vector
from demur.errors import InputError
from demur.types import Direction, Site


def test_the_cosine_is_signed_and_a_site_each():
    axis = torch.eye(4)[0]
    vector = steering_vector({Site(1): torch.tensor([-3.0, 4.0, 0, 0]), Site(2): 2 * axis})
    assert cosines(vector, Direction(axis, Site(1), 1.0)) == pytest.approx({"1.pre": -0.6, "2.pre": 1.0})
    with pytest.raises(InputError, match="widths 4 and 3"):
        cosines(vector, Direction(torch.eye(3)[0], Site(1), 1.0))


def test_cosines_with_several_directions_of_each_site():
    vector = steering_vector({Site(1): torch.tensor([3.0, 4.0, 0]), Site(2): torch.tensor([0, 0, -2.0])})
    rows = [steering_vector({Site(1): torch.eye(3)[i], Site(2): torch.eye(3)[2 - i]}) for i in range(2)]
    found = basis_cosines(vector, rows)
    assert found["1.pre"] == pytest.approx([0.6, 0.8]) and found["2.pre"] == pytest.approx([-1.0, 0.0])
    with pytest.raises(InputError, match="stands at 2.pre"):
        basis_cosines(vector, [steering_vector({Site(1): torch.eye(3)[0]})])
