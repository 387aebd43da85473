import pytest

from workflow_scripts.lib.encoders.files import tokenizer_files, weights_file, weights_files


def located(path):
    return f"at/{path}"


@pytest.mark.parametrize("method", ["open_clip", "timm"])
def test_weights_files_are_told_from_tags(method):
    for name in ("dir/tag", "x.pt", "x.safetensors"):
        assert weights_file({"method": method, "pretrained": name}) == name
    assert weights_file({"method": method, "pretrained": "laion2b_s34b_b88k"}) is None
    assert weights_file({"method": method}) is None


def test_a_job_waits_for_the_weights_that_are_on_disk():
    assert weights_files({"pretrained": "openai"}, located) == []
    assert weights_files({"pretrained": "dir/x.pt"}, located) == ["at/dir/x.pt"]
    folder = "at/tiny/open_clip_"
    files = [f"{folder}model.safetensors", f"{folder}config.json"]
    assert weights_files({"checkpoint": "tiny"}, located) == files


def test_a_tokenizer_is_every_file_of_one(tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json", "merges.txt", "readme.txt"):
        (tmp_path / name).touch()
    found = tokenizer_files({"checkpoint": str(tmp_path)}, str)
    names = ["merges.txt", "tokenizer.json", "tokenizer_config.json"]
    assert found == [str(tmp_path / name) for name in names]
    assert tokenizer_files({"pretrained": "openai"}, str) == []
