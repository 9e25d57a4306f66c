"""Feature sets as files: JSON with the hash of each site's SAE and everything that made the set."""

from __future__ import annotations

import json
import math
from pathlib import Path

from demur.errors import BadFile, BadSpec
from demur.runs.strict import json_seal, read_json
from demur.runs.writing import write_text
from demur.saes.load import reload_sae
from demur.saes.sae import SAE
from demur.types import Feature, FeatureSet, Site
from demur.version import VERSION

KIND = "demur.features"
CONVENTION = "layer counts blocks from 0; pre is the input of that block, post its output"


def save_features(features: FeatureSet, path: str | Path) -> Path:
    """Write `path` (JSON), whole or not at all. Returns the path.

    origin["saes"], {site: folder}, is where the command line finds the SAEs. Raises BadSpec for a feature whose
    site's SAE has no hash in the set, an index or score that is no number, or an origin that JSON cannot hold;
    OutOfRoom when the disk is full, BadFile when the folder cannot be written.
    """
    for feature in features.features:
        if feature.site not in features.saes:
            raise BadSpec(f"the set has no SAE hash for its features at {feature.site}; add saes[{feature.site}].")
        if not _is_index(feature.index) or not _is_score(feature.score):
            raise BadSpec(f"{feature}: a feature has an index from 0 on and a finite score.")
    record = {
        "kind": KIND,
        "layer_convention": CONVENTION,
        "features": [{"site": str(f.site), "index": f.index, "score": f.score} for f in features.features],
        "saes": {str(site): features.saes[site] for site in sorted(features.saes)},
        "origin": {"version": VERSION, **features.origin},
    }
    try:
        record["sha256"] = json_seal(record)
        text = json.dumps(record, indent=1, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise BadSpec(f"the set's origin cannot be written as JSON: {problem}; leave out what is no number or text.") \
            from problem  # fmt: skip
    return write_text(path, text + "\n")


def load_features(path: str | Path, weights: str | None = None) -> FeatureSet:
    """Read a feature set. Raises BadFile when it is missing, damaged, something else, or (given `weights`) of another
    model.

    weights: the engine fingerprint's weight hash that the features must have been found on.
    """
    try:
        record = read_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(f"no feature set at {path}; `demur features find` writes one.") from None
    except (OSError, ValueError) as problem:
        raise BadFile(f"{path} is not a readable feature set: {problem}; find the features again.") from problem
    kind = record.get("kind") if isinstance(record, dict) else None
    if kind != KIND:
        raise BadFile(f"{path} is no demur feature set (kind {str(kind)[:40]!r}); save_features writes one.")
    lacking = [name for name in ("sha256", "features", "saes", "origin") if name not in record]
    if lacking:
        raise BadFile(f"{path} has no field {lacking[0]!r}; write sets with `demur features find` or `pick`.")
    try:
        if json_seal({name: value for name, value in record.items() if name != "sha256"}) != record["sha256"]:
            raise BadFile(f"{path} does not match its sha256: the file is damaged; find the features again.")
        features = tuple(Feature(Site.parse(one["site"]), one["index"], one["score"]) for one in record["features"])
        saes = {Site.parse(site): str(sha256) for site, sha256 in record["saes"].items()}
        origin = dict(record["origin"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as problem:
        raise BadFile(f"{path} is not a whole feature set ({problem!r}); find the features again.") from problem
    if weights is not None and origin.get("weights") not in (None, weights):
        raise BadFile(
            f"{path} was found on a model with weights {str(origin['weights'])[:12]}..., not {weights[:12]}...; "
            "find features on this model."
        )
    return FeatureSet(features, saes, origin)


def load_saes(features: FeatureSet) -> dict[Site, SAE]:
    """The SAE of every site that the set has features at, from the folders in origin["saes"], {site: folder}.

    Raises BadFile when a folder is not given, holds no SAE, or holds another than the set's features are of.
    """
    folders = features.origin.get("saes")
    found = {}
    for site in sorted({feature.site for feature in features.features}):
        folder = folders.get(str(site)) if isinstance(folders, dict) else None
        if not isinstance(folder, str) or site not in features.saes:
            raise BadFile(
                f"the feature set does not say where its SAE at {site} lies; give its origin "
                f'"saes": {{"{site}": FOLDER}}.'
            )
        found[site] = reload_sae(folder, features.saes[site])
    return found


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_score(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
