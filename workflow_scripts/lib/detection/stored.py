"""A detector to take away: it scores, ranks and flags images, without the training images.

    from workflow_scripts.lib.detection import load_detector

    detector = load_detector("results/detectors/demo/tinyclip/kmeans_60/clustermine/seed0")
    ranked, unreadable = detector.score_images("/data/new")

Its files are those of `bundle.py`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from workflow_scripts.lib.clustering.methods import load_method
from workflow_scripts.lib.detection import calibration
from workflow_scripts.lib.detection.bundle import (
    JSON_NAME,
    description_path,
    read_arrays,
    read_description,
)
from workflow_scripts.lib.detection.detectors import column_of, score_blocks
from workflow_scripts.lib.detection.images import Gaussians
from workflow_scripts.lib.detection.outliers import outlier_frame
from workflow_scripts.lib.embeddings import Embeddings, encoder_differences
from workflow_scripts.lib.encoders.files import WEIGHTS_NAME, weights_files
from workflow_scripts.lib.errors import InputError

NORM_TOLERANCE = 0.01  # of unit rows; rounding to float16 takes less than 0.001
ROOT = Path(__file__).parents[3]


def load_detector(path, encoder=None):
    """Open a stored detector; a `Detector`.

    path: its folder or its detector.json. encoder: a config block (`encoders.loading.load_encoder`)
    in place of the stored one, e.g. where the weights have moved; `score_images` refuses another
    encoder than the detector's.
    Raises InputError if files are missing, damaged or do not belong together.
    """
    path = description_path(path)
    meta = read_description(path)
    return Detector(meta, read_arrays(path, meta), encoder)


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
            missing={},  # known since the detector was stored: see left_out
        )
        by_column = {column_of(*key): values for key, values in scores.items()}
        if unknown := set(self.meta["columns"]) - by_column.keys():
            raise InputError(f"{JSON_NAME}: none of its detectors has columns {sorted(unknown)}")
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

    def why_none_is_flagged(self):
        """A sentence if no image can be flagged at the study's rate, else None."""
        if not self.meta["calibration"]:
            return "the detector has no calibration scores: images are ranked, none is flagged"
        number = len(self._arrays[f"calibration.{self.meta['decide_by']}"])
        if number < (least := calibration.least_number(self.meta["rate"])):
            return (
                f"no image is flagged: for {100 * self.meta['rate']:g} % false alarms the detector "
                f"would need {least:,} calibration images, and has {number:,}"
            )
        return None

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

    def rank(self, ids, embeddings, by=None, paths=None, members=None):
        """Images by rank, those that belong least first, as `outliers.outlier_frame` tells.

        ids: [b]. embeddings: as in `score`. by: the column that decides, None: the study's. paths,
        members: [b] or None, what opens the images: files, or archives and members in them.
        Columns for names: concept (the nearest positive) and cluster (its name, if there are any).
        """
        by, scored = self._deciding(by), self.score(embeddings)
        unknown = [None] * len(ids)
        clusters = self.cluster(embeddings)[1] if self.meta["clusters"] else unknown
        return outlier_frame(
            {
                "image_id": ids,
                "path": unknown if paths is None else paths,
                "member": unknown if members is None else members,
            },
            scored.scores,
            by,
            {"concept": scored.names, "cluster": clusters},
            self.p_values(scored) if self.meta["calibration"] else None,
            self.meta["rate"],
        )

    def score_images(self, source, by=None, threads=1):
        """Embed images of any format and rank them.

        source: a folder, or paths of image files. by: as in `rank`. threads: of the
            model, on a CPU; more than one are also as many processes that decode.
        Returns (data frame of `rank`, path -> reason of the files that are no readable images).
        Raises InputError if the encoder is not the detector's.
        """
        from workflow_scripts.lib.encoders.stream import embedding
        from workflow_scripts.lib.images.folder import list_folder

        if isinstance(source, (str, Path)):
            source = [Path(source, name) for name in list_folder(source)]
        paths = [str(path) for path in source]
        reads = (partial(Path, path) for path in paths)
        encoder = self._loaded_encoder(threads)
        with embedding(encoder, threads) as embed:
            blocks, bad = embed(reads)
            embeddings = np.concatenate([np.empty((0, encoder.dim), np.float16), *blocks])
        kept = [path for number, path in enumerate(paths) if number not in bad]
        reasons = {paths[number]: str(reason) for number, reason in bad.items()}
        return self.rank(kept, embeddings, by, paths=kept), reasons

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
            why = self.meta["left_out"].get(by)
            raise InputError(
                f"the detector has no score {by!r}{f' ({why})' if why else ''}; it has "
                f"{', '.join(self.meta['columns'])}"
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
            yield block / norms[:, None]


def _without_place(description):
    """A description of an encoder without what a copy of a checkpoint folder may change, its name.

    Its weights are told by their SHA-256.
    """
    place = ("model",) if description.get("pretrained") == WEIGHTS_NAME else ()
    return {key: value for key, value in description.items() if key not in place}


def located(path):
    """A path of a config block: from the working directory, else from the repository."""
    return path if Path(path).exists() else str(ROOT / path)
