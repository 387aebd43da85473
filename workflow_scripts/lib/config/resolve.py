"""The configuration as one plain dict: defaults filled in, mistakes named."""

from pydantic import ValidationError

from workflow_scripts.lib.config.checks import SOURCES, check_sections
from workflow_scripts.lib.config.messages import input_error
from workflow_scripts.lib.config.models import Config
from workflow_scripts.lib.config.names import ablated_studies, defined_names, undefined
from workflow_scripts.lib.detection.models import Study
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.models import ImageSet

# A block of the user's with one of these keys says what it is.
IDENTITY = ("method", "derive", *(key for _, keys in SOURCES.values() for key in keys))
# Of studies; of ablations and reproductions; of benchmarks; of rendered images.
IDENTITY += ("train", "study", "levels", "content")


def with_own_blocks(config, own):
    """The config where blocks of the user's replace those of their name that come with the project.

    Snakemake merges them key by key: a user's `temi: {method: temi, k: 200}` would have all the
    demo's other values. A block that does not say what it is (IDENTITY) only changes some keys.
    config: the merged config. own: what the user gave of it.
    """
    replaced = dict(config)
    for section, blocks in own.items():
        if not isinstance(blocks, dict) or not isinstance(config[section], dict):
            continue
        stated = {
            name: block
            for name, block in blocks.items()
            if isinstance(block, dict) and any(key in block for key in IDENTITY)
        }
        replaced[section] = config[section] | stated
    return replaced


def resolve_config(config):
    """The config with every default filled in, keys in the order of the models' fields.

    config: the nested dict that Snakemake read. An optional key without a default stays absent.
    Raises InputError that names the key and, for a typo, the nearest valid name.
    """
    names = defined_names(config)
    resolved = _resolved(Config, config, names)
    resolved = _with_data(resolved, resolved["data"])
    _add_ablated_studies(resolved, names)
    _hold_out(resolved, names)
    check_sections(resolved)
    return resolved


def _resolved(model, block, names, path=()):
    try:
        return model.model_validate(block, context=names).model_dump(by_alias=True)
    except ValidationError as error:
        raise input_error(error, path) from None


def _with_data(value, folder):
    """The config with `{data}` at the start of a text replaced by the folder."""
    if isinstance(value, dict):
        return {key: _with_data(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_data(item, folder) for item in value]
    if isinstance(value, str) and value.startswith("{data}"):
        return folder + value.removeprefix("{data}")
    return value


def _add_ablated_studies(config, names):
    """A study per value of every ablation, named by `ablated_studies`.

    An ablation may vary a study that an ablation before it makes.
    """
    studies = config["studies"]
    for name, ablation in config["ablations"].items():
        varied = ablation["study"]
        if varied not in studies:
            problem = undefined(varied, "studies", studies)
            raise InputError(f"config: ablations.{name}.study{problem}")
        for study, value in ablated_studies(name, ablation).items():
            if study in studies:
                raise InputError(
                    f"config: studies.{study}: ablations.{name} makes a study of this name too; "
                    "rename one of them"
                )
            block = studies[varied] | {ablation["vary"]: value}
            studies[study] = _resolved(Study, block, names, ("ablations", name))


def _hold_out(config, names):
    """Fill in the test and calibration sets of the studies.

    `calibrate.share` of X adds the image sets X.fit and X.calibration. The study trains on the
    first and is calibrated on the second, which `calibrate.set` then names.
    """
    for name, study in config["studies"].items():
        train, calibrate = study["train"], study["calibrate"]
        study["test"] = study["test"] or train
        if calibrate and "share" in calibrate:
            for part in ("fit", "calibration"):
                cut = calibrate | {"method": "holdout", "from": train, "part": part}
                block = _resolved(ImageSet, {"derive": cut}, names)
                _add_part(config["image_sets"], f"{train}.{part}", block, name)
            study["train"] = f"{train}.fit"
            study["calibrate"] = {"seed": calibrate["seed"], "set": f"{train}.calibration"}


def _add_part(image_sets, name, block, study):
    if image_sets.setdefault(name, block) != block:
        raise InputError(
            f"config: studies.{study}.calibrate: {name!r} is another image set already; hold out "
            "the same share with the same seed in all studies of these images, or derive image "
            "sets of your own (method holdout)"
        )
