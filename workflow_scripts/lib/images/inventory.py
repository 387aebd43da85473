"""Counting the images of a set by names, sizes and headers, and comparing with what is expected."""

from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import REPEATED, open_container
from workflow_scripts.lib.images.decode import EXTENSIONS
from workflow_scripts.lib.images.folder import list_folder
from workflow_scripts.lib.images.manifest import subfolder

OK = "ok"


def images_in(kind, labels, options):
    """Yield (image_id, label, reason) of every image of a set; see `open_container`.

    In a folder, files count as images by their extension. reason: why a listed file cannot be
    used, else None; what cannot be used in archives and tables is no image and left out, but for
    repeated ids.
    """
    if kind == "folder":
        for path in list_folder(options["path"]):
            if Path(path).suffix.lower() in EXTENSIONS:
                yield path, subfolder(path) if labels == "subfolder" else None, None
        return
    for image_id, locator in open_container(kind, labels=labels, **options).entries():
        reason = locator["reason"]
        if kind == "list" or not reason or reason.startswith(REPEATED):
            yield image_id, locator["label"], reason


def check_set(kind, labels, options, expected):
    """Number of images (None if not counted), of classes (None if without labels), and a verdict.

    options: of `open_container`, with its path. expected: {"images": int, "classes": int} or less.
    """
    for place in ("path", "root"):
        if place in options and not Path(options[place]).exists():
            return None, None, f"missing: {options[place]}"
    images, classes, unusable = 0, set(), []
    try:
        for image_id, label, reason in images_in(kind, labels, options):
            images += reason is None
            classes |= {label} - {None}
            if reason:
                unusable.append(f"{image_id}: {reason}")
    except (InputError, OSError) as error:
        return None, None, str(error)
    found = {"images": images, "classes": len(classes)}
    problems = [difference(found[what], number, what) for what, number in expected.items()]
    if unusable:
        problems.append(f"{len(unusable)} listed files cannot be used (first: {unusable[0]})")
    if not images:
        problems.append("no images")
    return images, len(classes) or None, "; ".join(filter(None, problems)) or OK


def difference(found, expected, what):
    """A sentence on two different numbers, or None."""
    if found == expected:
        return None
    return f"{abs(found - expected):,} {what} too {'few' if found < expected else 'many'}"
