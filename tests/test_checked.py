import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped
from tests.checked import CHECKED, check
from torch import Tensor, ones


def closure(factor: float):
    @jaxtyped(typechecker=check)
    def edit(x: Float[Tensor, "batch width"], by: float = factor) -> Float[Tensor, "batch width"]:
        return x * by if factor else x[0]

    return edit


def test_closures_of_one_def_share_their_checks_and_do_their_own_work():
    assert closure(2.0)(ones(2, 3)).sum() == 12
    many = len(CHECKED)
    assert closure(3.0)(ones(2, 3)).sum() == 18
    assert len(CHECKED) == many


def test_wrong_shapes_are_found_in_each_of_them():
    closure(1.0)(ones(2, 3))
    with pytest.raises(TypeCheckError, match="parameters of"):
        closure(2.0)(ones(3))
    with pytest.raises(TypeCheckError, match="return value of"):
        closure(0.0)(ones(2, 3))


def test_functions_that_say_something_else_have_checks_of_their_own():
    def first(x: int) -> int:
        return x

    narrow = check(first)
    first.__annotations__ = {"x": str, "return": str}
    assert check(first) is not narrow
    assert check(first)("a") == "a"
