import importlib.machinery
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_checkpoint import load, save_checkpoint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(checkpoint folder, the model that was saved there, the encoder loaded from it)."""
    folder = tmp_path_factory.mktemp("tiny")
    model = save_checkpoint(folder)
    return folder, model, load({"checkpoint": str(folder), "device": "cpu"})


class FakeTokenizer:
    """Stands for transformers.AutoTokenizer: knows the folders that have a tokenizer.json."""

    @classmethod
    def from_pretrained(cls, source, **kwargs):
        if not (Path(source) / "tokenizer.json").is_file():
            raise OSError(f"no tokenizer in {source}")
        return cls()

    def __call__(self, texts, max_length, **kwargs):
        """A token per letter, which keeps capitals apart."""
        ids = torch.zeros(len(texts), max_length, dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            letters = torch.tensor([ord(letter) for letter in text[:max_length]])
            row[: len(letters)] = letters
        return types.SimpleNamespace(input_ids=ids)


@pytest.fixture
def fake_transformers(monkeypatch):
    module = types.ModuleType("transformers")
    module.__spec__ = importlib.machinery.ModuleSpec("transformers", None)
    module.AutoTokenizer = FakeTokenizer
    monkeypatch.setitem(sys.modules, "transformers", module)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_checkpoint(folder)
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    """Ten images in two classes, two of them equal, one cut off, plus two files that are none."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for i in range(9):
        path = root / ("red fox" if i % 2 else "dög") / f"image {i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40 + i, 50, 3), np.uint8)).save(path)
    shutil.copy(root / "dög/image 0.png", root / "dög/the same.png")
    content = (root / "dög/image 4.png").read_bytes()
    (root / "dög/image 4.png").write_bytes(content[: len(content) // 2])
    (root / "notes.jpg").write_text("not an image")
    (root / "empty.jpg").touch()
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """60 small JPEGs in four classes, two of them equal, one cut off, and an empty file."""
    root = tmp_path_factory.mktemp("photos") / "set"
    rng = np.random.default_rng(1)
    for i in range(60):
        path = root / ("ant", "bee", "cät", "dog")[i % 4] / f"photo {i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (6, 8 + i % 5, 3), np.uint8)
        Image.fromarray(pixels).resize((48, 40 + i % 7)).save(path)
    shutil.copy(root / "ant/photo 0.jpg", root / "dog/the same.jpg")
    cut = root / "bee/photo 1.jpg"
    cut.write_bytes(cut.read_bytes()[:-300])
    (root / "bee/empty.jpg").touch()
    return root
