import hashlib
import types
from functools import partial
from pathlib import Path

import pytest

from workflow_scripts.lib.encoders import open_clip as open_clip_models
from workflow_scripts.lib.encoders.hub import PINS, NotInHub, hub_file
from workflow_scripts.lib.errors import InputError


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub within reach whose cache is empty; answers file name -> exception or text."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    answers, asked = {}, []

    def download(repo, name, local_files_only=False):
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        asked.append(name)
        response = types.SimpleNamespace(headers={}, request=None)
        missing = RemoteEntryNotFoundError(f"no {name}", response=response)
        answer = answers.get(name, missing)
        if isinstance(answer, Exception):
            raise answer
        (tmp_path / name).write_text(answer)
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr("workflow_scripts.lib.encoders.hub.hub_problem", lambda: None)
    return answers, asked


def test_only_a_file_that_the_hub_lacks_makes_way_for_the_next_name(hub):
    from huggingface_hub.errors import LocalEntryNotFoundError

    answers, asked = hub
    find = partial(hub_file, "some/repo", ["a", "b"], "The weights", "buy some")
    answers["b"] = "weights"
    assert find().read_text() == "weights"
    assert asked == ["a", "b"]
    for failure in (OSError("No space left"), LocalEntryNotFoundError("connection lost")):
        asked.clear()
        answers["a"] = failure
        with pytest.raises(
            InputError, match=rf"a or b of some/repo .*\({type(failure).__name__}: {failure}\)"
        ):
            find()
        assert asked == ["a"]
    answers.clear()
    with pytest.raises(NotInHub, match="buy some"):
        find()


def test_a_tokenizer_does_without_special_tokens_only_if_the_hub_has_none(hub):
    answers, _ = hub
    answers |= {"tokenizer.json": "{}", "tokenizer_config.json": "{}"}
    folder = Path(open_clip_models._tokenizer_folder("siglip", "some/repo"))
    assert (folder / "tokenizer.json").read_text() == "{}"
    answers["special_tokens_map.json"] = OSError("No space left")
    with pytest.raises(InputError, match=r"special_tokens_map.json .*No space left"):
        open_clip_models._tokenizer_folder("siglip", "some/repo")


def test_weights_of_a_tag_are_those_that_were_used_first(hub, tmp_path):
    answers, _ = hub
    find = partial(hub_file, "some/repo", ["w.bin"], "The weights of x", "buy some")
    answers["w.bin"] = "weights"
    token = PINS.set(tmp_path / "pins")
    try:
        find()
        pin = tmp_path / "pins/some--repo/w.bin.sha256"
        assert pin.read_text() == f"{hashlib.sha256(b'weights').hexdigest()}  w.bin\n"
        assert find().read_text() == "weights"
        answers["w.bin"] = "others"
        with pytest.raises(
            InputError, match=r"The weights of x: .*w\.bin has the SHA-256"
        ) as error:
            find()
        assert str(pin) in str(error.value) and f"Remove {tmp_path / 'w.bin'}" in str(error.value)
        pin.unlink()
        assert find().read_text() == "others"
    finally:
        PINS.reset(token)
