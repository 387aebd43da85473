"""A detector to take away: all that scores images, in two files, without the training images.

    from workflow_scripts.lib.detection import load_detector

    detector = load_detector("results/detectors/demo/tinyclip/kmeans_60/clustermine/seed0")
    ranked, unreadable = detector.score_images("/data/new")

`detector.json` has names, settings and the description of the encoder, `detector.safetensors` the
arrays. The JSON tells the SHA-256 of the arrays, so that the two cannot be mixed up.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load, save

from workflow_scripts.lib.artifacts import write_text
from workflow_scripts.lib.clustering.methods import load_method
from workflow_scripts.lib.detection import calibration
from workflow_scripts.lib.detection.detectors import column_of, score_blocks
from workflow_scripts.lib.detection.images import Gaussians
from workflow_scripts.lib.embeddings import Embeddings, encoder_differences
from workflow_scripts.lib.encoders.files import WEIGHTS_NAME, weights_files
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.replacing import replacing

FORMAT = 1
JSON_NAME, ARRAYS_NAME = "detector.json", "detector.safetensors"
KEYS = (
    "arrays", "calibration", "clusters", "columns", "decide_by", "detectors", "encoder", "format",
    "mining", "negatives", "positives", "rate",
)  # fmt: skip
NORM_TOLERANCE = 0.01  # of unit rows; rounding to float16 takes less than 0.001
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Scored:
    """Scores of b images.

    scores: column, `detector` or `detector:negatives`, -> float32 [b], higher = more
    in-distribution. names: [b], the nearest positives. cosines: float32 [b], to them.
    """

    scores: dict
    names: np.ndarray
    cosines: np.ndarray


class Detector:
    """A stored detector; made by `load_detector`.

    meta: what detector.json says (results/README.md). dim: length of an embedding.
    """

    def __init__(self, meta, arrays, encoder=None):
        """arrays: name -> array. encoder: see `load_detector`."""
        self.meta = meta
        self._arrays = arrays
        self._encoder_block = meta["encoder"]["block"] if encoder is None else encoder
        self._encoder = None
        self._positives = arrays["positives"].astype(np.float32)
        self._negatives = {
            name: arrays[f"negatives.{name}"].astype(np.float32) for name in meta["negatives"]
        }
        self._names = np.array(meta["positives"], object)
        self._gaussians = None
        if "gaussians.means" in arrays:
            self._gaussians = Gaussians(arrays["gaussians.means"], arrays["gaussians.covariance"])
        self.dim = self._positives.shape[1]

    def score(self, embeddings):
        """Score images as the study does; a `Scored`.

        embeddings: float [b, d], unit rows by the detector's encoder, in memory or a memory map,
            or the `Embeddings` of an image set.
        Raises InputError for other dimensions, or rows that are not of unit norm.
        """
        scores, nearest, cosines = score_blocks(
            self._blocks(embeddings),
            self._positives,
            self._negatives,
            self.meta["detectors"],
            clusters=self._gaussians,
        )
        by_column = {column_of(*key): values for key, values in scores.items()}
        ordered = {name: by_column[name] for name in self.meta["columns"]}
        return Scored(ordered, self._names[nearest], cosines)

    def p_values(self, scored):
        """Conformal p-values of a `Scored` (`calibration.p_values`): column -> float64 [b].

        Raises InputError if the detector was stored without calibration scores.
        """
        if not self.meta["calibration"]:
            raise InputError(
                "the detector has no calibration scores, so it ranks images and flags none; give "
                "its study calibration images and store it again"
            )
        return {
            column: calibration.p_values(self._arrays[f"calibration.{column}"], scores)
            for column, scores in scored.scores.items()
        }

    def flag(self, scored, rate=None, by=None):
        """Which images are flagged, bool [b]: p-value <= rate.

        rate: false alarms among in-distribution images; None: the study's. by: the column that
        decides; None: the study's. Raises InputError as `p_values`, or for an unknown column.
        """
        rate = self.meta["rate"] if rate is None else rate
        return calibration.flagged(self.p_values(scored)[self._deciding(by)], rate)

    def cluster(self, embeddings):
        """The clusters of images, int32 [b], and their names, [b] (None: a cluster without images).

        embeddings: as in `score`. A cluster's name is the best concept of most of its images.
        Raises InputError if the detector's positives were mined without clusters.
        """
        clusters = self.meta["clusters"]
        if not clusters:
            raise InputError(f"mining {self.meta['mining']!r} knows no clusters")
        weights = {
            name.removeprefix("clusters."): array
            for name, array in self._arrays.items()
            if name.startswith("clusters.")
        }
        assign = load_method(clusters["cfg"]["method"]).assign
        found, _ = assign(self._blocks(embeddings), weights, clusters["cfg"])
        return found, np.array(clusters["names"], object)[found]

    def rank(self, paths, embeddings, by=None):
        """Images by rank, those that belong least first, as a data frame.

        paths: [b]. embeddings: as in `score`. by: the column that decides, None: the study's.
        Columns: rank (from 1), path, a score per column, p_value and flagged (empty without
        calibration), name (the nearest positive) and cluster (its name, if there are clusters).
        """
        by, scored = self._deciding(by), self.score(embeddings)
        frame = pd.DataFrame({"path": list(paths), **scored.scores})
        frame["p_value"], frame["flagged"] = np.nan, pd.array([None] * len(frame), "boolean")
        if self.meta["calibration"]:
            frame["p_value"] = self.p_values(scored)[by]
            frame["flagged"] = calibration.flagged(frame["p_value"], self.meta["rate"])
        frame["name"] = scored.names
        frame["cluster"] = self.cluster(embeddings)[1] if self.meta["clusters"] else None
        frame = frame.sort_values([by, "path"], kind="stable", ignore_index=True)
        frame.insert(0, "rank", np.arange(1, len(frame) + 1))
        return frame

    def score_images(self, source, by=None, threads=1):
        """Embed images of any format and rank them.

        source: a folder, or paths of image files. by: as in `rank`. threads: that decode, and on a
        CPU run the model.
        Returns (data frame of `rank`, path -> reason of the files that are no readable images).
        Raises InputError if the encoder is not the detector's.
        """
        from workflow_scripts.lib.encoders.stream import embed_stream
        from workflow_scripts.lib.images.folder import list_folder

        if isinstance(source, (str, Path)):
            source = [Path(source, name) for name in list_folder(source)]
        paths = [str(path) for path in source]
        reads = ((lambda path=path: path) for path in paths)
        embeddings, bad = embed_stream(self._loaded_encoder(threads), reads, threads)
        kept = [path for number, path in enumerate(paths) if number not in bad]
        reasons = {paths[number]: str(reason) for number, reason in bad.items()}
        return self.rank(kept, embeddings, by), reasons

    def check_encoder(self, description):
        """Raise InputError unless an encoder is the detector's: weights, preprocessing, precision.

        description: what its `describe` returns, or the metadata of embeddings hold.
        """
        own = self.meta["encoder"]["description"]
        named = [_without_place(one) for one in (description, own)]
        if values := encoder_differences(*named, ("it has", "the detector")):
            raise InputError(
                f"The encoder is not the detector's ({values}). Its scores would mean nothing: use "
                "the same weights, preprocessing and precision."
            )

    def _loaded_encoder(self, threads):
        """The detector's encoder, loaded once and checked."""
        from workflow_scripts.lib.encoders.loading import load_encoder, with_weights

        if self._encoder is None:
            block = self._encoder_block
            if block["method"] == "precomputed":
                raise InputError(
                    "the detector's embeddings were computed elsewhere: no encoder is known; embed "
                    "the images as those of its study, and use `score`"
                )
            weights = weights_files(block, located)
            encoder = load_encoder(with_weights(block, weights), threads, texts=False)
            self.check_encoder(encoder.describe())
            self._encoder = encoder
        return self._encoder

    def _deciding(self, by):
        if by is not None and by not in self.meta["columns"]:
            raise InputError(
                f"the detector has no score {by!r}; it has {', '.join(self.meta['columns'])}"
            )
        return by or self.meta["decide_by"]

    def _blocks(self, embeddings):
        """The rows as float32 blocks. Raises InputError."""
        if not isinstance(embeddings, Embeddings):
            embeddings = Embeddings([embeddings], None, {})
        for array in embeddings.arrays:
            if array.ndim != 2 or array.shape[1] != self.dim:
                raise InputError(
                    f"embeddings have the shape {list(array.shape)}, the detector needs "
                    f"[images, {self.dim}]; embed the images with its encoder"
                )
        for block in embeddings.blocks():
            norms = np.sqrt(np.einsum("bd,bd->b", block, block))
            if not (np.abs(norms - 1) <= NORM_TOLERANCE).all():
                raise InputError("some embeddings are not of unit norm: divide rows by their norms")
            yield block


def _without_place(description):
    """A description of an encoder without what a copy of a checkpoint folder may change, its name.

    Its weights are told by their SHA-256.
    """
    place = ("model",) if description.get("pretrained") == WEIGHTS_NAME else ()
    return {key: value for key, value in description.items() if key not in place}


def located(path):
    """A path of a config block: from the working directory, else from the repository."""
    return path if Path(path).exists() else str(ROOT / path)


def load_detector(path, encoder=None):
    """Open a stored detector; a `Detector`.

    path: its folder or its detector.json. encoder: a config block (`encoders.loading.load_encoder`)
    in place of the stored one, e.g. where the weights have moved; `score_images` refuses another
    encoder than the detector's.
    Raises InputError if files are missing, damaged or do not belong together.
    """
    path = description_path(path)
    meta = read_description(path)
    arrays_path = path.with_name(ARRAYS_NAME)
    try:
        content = arrays_path.read_bytes()
        if hashlib.sha256(content).hexdigest() != meta["arrays"]:
            raise InputError(
                f"{arrays_path} is not what {path.name} was stored with (damaged, or of another "
                "detector); store the detector again or copy both files"
            )
        return Detector(meta, load(content), encoder)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{arrays_path} cannot be read ({error})") from error


def description_path(path):
    """Path of the detector.json of a stored detector, given as its folder or as this file."""
    return Path(path, JSON_NAME) if Path(path).is_dir() else Path(path)


def read_description(path):
    """What detector.json says. path: as in `load_detector`. Raises InputError."""
    path = description_path(path)
    try:
        meta = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        hint = f"`snakemake results/detectors/.../{JSON_NAME}` stores one"
        raise InputError(f"{path} is no stored detector: no such file; {hint}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no stored detector that can be read ({error})") from error
    missing = [key for key in KEYS if not isinstance(meta, dict) or key not in meta]
    if missing or meta["format"] != FORMAT:
        what = f"without {missing[0]!r}" if missing else f"of format {meta['format']}"
        raise InputError(f"{path} is no stored detector of format {FORMAT} ({what})")
    return meta


def write_detector(json_path, arrays_path, meta, arrays):
    """Write a detector that `load_detector` opens; equal inputs give equal bytes.

    meta: KEYS but `arrays`, and more. arrays: name -> array, as `Detector` reads them.
    """
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    with replacing(arrays_path) as temporary:
        temporary.write_bytes(content)
    meta = {**meta, "format": FORMAT, "arrays": hashlib.sha256(content).hexdigest()}
    write_text(json_path, json.dumps(meta, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
