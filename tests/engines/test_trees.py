import pytest

from demur.engines import trees as module
from demur.engines.trees import lines, trees


def spelled(tree, index):
    return [tree.tokens[node] for node in tree.paths[index]]


def test_answers_share_what_they_begin_with_and_their_last_token_is_not_fed():
    (tree,) = trees(9, [(0, (1, 2, 3)), (1, (1, 2, 4)), (2, (1, 5, 6)), (3, (7,))])
    assert sorted(tree.tokens) == [1, 2, 5, 9]
    assert [spelled(tree, i) for i in range(4)] == [[9, 1, 2], [9, 1, 2], [9, 1, 5], [9]]
    assert all(tree.depths[node] == depth for path in tree.paths.values() for depth, node in enumerate(path))


def test_a_node_sees_its_own_line_and_no_other_branch():
    some = [*trees(9, [(0, (1, 2, 3)), (1, (1, 5, 6))]), *trees(9, [(2, (4, 4))])]
    depths, seen = lines(some)
    assert depths.shape == (2, 4) and seen.shape == (2, 4, 4)
    for row, tree in enumerate(some):
        for path in tree.paths.values():
            for at, node in enumerate(path):
                assert seen[row, node].nonzero().flatten().tolist() == sorted(path[: at + 1])


@pytest.mark.parametrize("nodes", [4, 7, 64])
def test_trees_are_kept_small_and_hold_every_answer_once(monkeypatch, nodes):
    monkeypatch.setattr(module, "NODES", nodes)
    answers = [(i, (i % 3, i % 5, i, 8)) for i in range(20)] + [(20, tuple(range(30, 40)))]
    grown = trees(9, answers)
    assert sorted(i for tree in grown for i in tree.paths) == list(range(21))
    assert all(spelled(tree, i) == [9, *dict(answers)[i][:-1]] for tree in grown for i in tree.paths)
    assert all(len(tree.tokens) <= nodes for tree in grown if 20 not in tree.paths)
