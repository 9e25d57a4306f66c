"""The notebook of examples/ runs from top to bottom, and what its cells show can be shown."""

import ast
import json
import sys
from types import ModuleType

import pytest
from tests.docs.blocks import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cells_of_a_notebook_run_and_show_their_last_value(path, world, monkeypatch):
    module = ModuleType("notebook")
    monkeypatch.setitem(sys.modules, "notebook", module)
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            assert not cell["outputs"], f"{path.name}, cell {number}: clear its output before it is committed"
            show(last_value("".join(cell["source"]), f"{path.name}, cell {number}", module))


def last_value(source, name, module):
    """Run a cell; the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), module.__dict__)
    return None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), module.__dict__)


def show(value):
    """What a notebook does with a value."""
    page = value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)
    assert page
