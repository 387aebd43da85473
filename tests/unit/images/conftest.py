import pytest
from image_files import IDS, LONG, picture


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    for seed, name in enumerate([*IDS, LONG]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = "JPEG" if "j" in name.lower().rpartition(".")[2] else "PNG"
        (folder / name).write_bytes(picture(seed, kind))
    return folder
