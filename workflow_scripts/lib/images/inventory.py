"""Counting the images of a set by names, sizes and headers, and comparing with what is expected."""

from pathlib import Path

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import open_container
from workflow_scripts.lib.images.decode import EXTENSIONS, FORMATS, UNREAD, BadImage
from workflow_scripts.lib.images.folder import list_folder
from workflow_scripts.lib.images.listing import rejection
from workflow_scripts.lib.images.losses import repeats
from workflow_scripts.lib.images.manifest import subfolder

OK = "ok"


def images_in(kind, labels, options):
    """The images of a set, image id -> label, and the lost ones, "id: reason"; see
    `open_container`.

    In a folder, files count as images, or as lost since of a format that is not read, by their
    extension. Elsewhere lost is what the listing calls so before it opens images.
    """
    if kind == "folder":
        suffixes = {name: Path(name).suffix.lower() for name in list_folder(options["path"])}
        names = [name for name, suffix in suffixes.items() if suffix in EXTENSIONS]
        why = f"convert it to one of {', '.join(FORMATS)}"
        unread = [f"{name}: {why}" for name, suffix in suffixes.items() if suffix in UNREAD]
        return {name: subfolder(name) if labels == "subfolder" else None for name in names}, unread
    container = open_container(kind, labels=labels, **options)
    images, files, rejected = {}, {}, []
    for image_id, locator in container.entries():
        if locator["reason"]:
            reason = BadImage(locator["reason"])
            rejected.append(rejection(container, image_id, locator, reason))
        else:
            images[image_id], files[image_id] = locator["label"], locator["file"]
    lost = [row for row in rejected if row.lost and not repeats(row, files, container.archived)]
    return images, [f"{row.image_id}: {row.reason}" for row in lost]


def check_set(kind, labels, options, expected):
    """Number of images (None if not counted), of classes (None if without labels), and a verdict.

    options: of `open_container`, with its path. expected: {"images": int, "classes": int} or less.
    """
    for place in ("path", "root"):
        if place in options and not Path(options[place]).exists():
            return None, None, f"missing: {options[place]}"
    try:
        images, lost = images_in(kind, labels, options)
    except (InputError, OSError) as error:
        return None, None, str(error)
    found = {"images": len(images), "classes": len({*images.values()} - {None})}
    problems = [difference(found[what], number, what) for what, number in expected.items()]
    if lost:
        problems.append(f"{len(lost)} files cannot be used (first: {lost[0]})")
    if not images:
        problems.append("no images")
    return found["images"], found["classes"] or None, "; ".join(filter(None, problems)) or OK


def difference(found, expected, what):
    """A sentence on two different numbers, or None."""
    if found == expected:
        return None
    return f"{abs(found - expected):,} {what} too {'few' if found < expected else 'many'}"
