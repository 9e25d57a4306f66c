from pathlib import Path

import pytest

from demur.errors import BadFile, InputError, UnknownName
from demur.prompts.published import ITEMS, SETS, published, published_items

COUNTS = {
    "jailbreakbench": 100,
    "jailbreakbench-benign": 100,
    "advbench": 520,
    "harmbench": 41,
    "xstest-safe": 250,
    "xstest-unsafe": 200,
    "alpaca": 6264,
    "harmful-train": 260,
    "harmful-val": 39,
}


def put(folder, file, content):
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's stand-in: gives the files written to it, and lists what was asked for."""
    import huggingface_hub

    monkeypatch.delenv("DEMUR_DATA", raising=False)
    asked: list[tuple[str, str]] = []

    def download(repo_id, filename, repo_type):
        assert repo_type == "dataset"
        asked.append((repo_id, filename))
        path: Path = tmp_path / repo_id / filename
        if not path.exists():
            raise OSError("offline\nand more lines")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return tmp_path, asked


@pytest.mark.parametrize("name", COUNTS)
def test_a_published_set_is_read_from_the_folder(data, name):
    if not (data / SETS[name].file).exists():
        pytest.skip(f"the folder has no {SETS[name].file}")
    prompts = published(name)
    assert len(prompts) == COUNTS[name]
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert {prompt.kind for prompt in prompts} == {SETS[name].kind}


@pytest.mark.parametrize("name", ITEMS)
def test_published_items_are_read_from_the_folder(data, name):
    if not (data / ITEMS[name].file).exists():
        pytest.skip(f"the folder has no {ITEMS[name].file}")
    items = published_items(name)
    assert len(items) >= 100
    assert all(item.query == item.query.rstrip() for item in items)
    assert all(choice == choice.strip() for item in items for choice in item.choices)
    assert {len(item.choices) == 1 for item in items} == {name == "lambada"}


def test_ids_are_places_in_the_file_whatever_is_left_out(folder):
    put(folder, "xstest/xstest_prompts.csv", "id,prompt,type,label\n1,a,t,safe\n2,b,t,unsafe\n3,c,u,safe\n")
    assert [(p.id, p.text, p.category) for p in published("xstest-safe")] == [
        ("xstest-safe-0", "a", "t"),
        ("xstest-safe-2", "c", "u"),
    ]
    assert [p.id for p in published("xstest-unsafe")] == ["xstest-unsafe-1"]


def test_harmbench_leaves_out_copyright_and_context(folder):
    put(
        folder,
        "harmbench/harmbench_behaviors_text_val.csv",
        "Behavior,FunctionalCategory,SemanticCategory,ContextString\n"
        "a,standard,illegal,\nb,copyright,copyright,\nc,contextual,illegal,long ago\nd,standard,illegal,ago\n",
    )
    assert [p.text for p in published("harmbench")] == ["a"]


def test_strongreject_is_read_from_any_folder_that_has_it(folder):
    put(folder, "strongreject/strongreject_dataset.csv", "category,source,forbidden_prompt\nfraud,x,a\n")
    assert [(p.text, p.category, p.kind) for p in published("strongreject")] == [("a", "fraud", "harmful")]


def test_sets_reserved_by_their_authors_carry_their_use(folder):
    for name in ("train", "val"):
        put(folder, f"refusal_direction/splits/harmful_{name}.json", '[{"instruction": "a", "category": null}]')
    put(folder, "refusal_direction/splits/harmless_val.json", '[{"instruction": "a"}]')
    assert published("harmful-train")[0].use == "training"
    assert published("harmful-val")[0].use == "validation"
    assert published("alpaca")[0].use == "test"


def test_without_a_folder_the_hub_is_asked(hub):
    root, asked = hub
    put(root, "JailbreakBench/JBB-Behaviors/data/harmful-behaviors.csv", "Index,Goal,Category\n0,a,Fraud\n")
    assert [(p.id, p.text, p.category) for p in published("jailbreakbench")] == [("jailbreakbench-0", "a", "Fraud")]
    assert asked == [("JailbreakBench/JBB-Behaviors", "data/harmful-behaviors.csv")]


def test_a_folder_without_the_file_falls_back_to_the_hub(hub, monkeypatch, tmp_path):
    root, asked = hub
    monkeypatch.setenv("DEMUR_DATA", str(tmp_path / "elsewhere"))
    put(root, "Paul/XSTest/xstest_prompts.csv", "id,prompt,type,label\n1,a,t,safe\n")
    assert [p.text for p in published("xstest-safe")] == ["a"]
    assert len(asked) == 1


def test_the_hubs_column_names_are_known_too(hub):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    root, _ = hub
    for name in ("advbench", "harmbench", "strongreject"):
        repo, file = SETS[name].hub or ("", "")
        (root / repo / file).parent.mkdir(parents=True)
        pq.write_table(pa.table({"prompt": ["a", "b"], "category": ["x", None]}), root / repo / file)
        assert [p.text for p in published(name)] == ["a", "b"]
    repo, file = SETS["alpaca"].hub or ("", "")
    (root / repo / file).parent.mkdir(parents=True)
    pq.write_table(pa.table({"instruction": ["a", "b"], "input": ["", "some"]}), root / repo / file)
    assert [p.text for p in published("alpaca")] == ["a"]


def test_what_neither_folder_nor_hub_has_is_explained_in_one_line(hub):
    with pytest.raises(
        InputError, match=r"DEMUR_DATA is not set, and .* \(OSError: offline\); set DEMUR_DATA"
    ) as caught:
        published("jailbreakbench")
    assert "\n" not in str(caught.value)


def test_a_set_that_the_hub_lacks_asks_for_the_folder(hub):
    with pytest.raises(InputError, match=r"'harmful-train' is read from a folder only and DEMUR_DATA is not set"):
        published("harmful-train")
    assert hub[1] == []


def test_a_malformed_published_file_is_a_bad_file(folder):
    put(folder, "advbench/harmful_behaviors.csv", "target\nx\n")
    with pytest.raises(BadFile, match=r"no column 'goal'; its columns: 'target'"):
        published("advbench")
    put(folder, "xstest/xstest_prompts.csv", "prompt,label\nx,odd\n")
    with pytest.raises(BadFile, match=r"no row is left for 'xstest-safe'"):
        published("xstest-safe")


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownName, match="Did you mean 'advbench'"):
        published("advbnch")
    with pytest.raises(UnknownName, match="Did you mean 'arc-easy'"):
        published_items("arc_easy")


def test_every_source_states_its_licence():
    assert all(source.licence for source in (*SETS.values(), *ITEMS.values()))
    assert "NC" in SETS["alpaca"].licence
