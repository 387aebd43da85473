import re
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import yaml

from workflow_scripts.lib.encoders import open_clip as open_clip_models

TABLE = Path(__file__).parents[3].joinpath("config/encoders.md").read_text("utf-8")
ROWS = [
    (yaml.safe_load(block), int(dim), int(size), tokenizer)
    for block, dim, size, tokenizer in re.findall(
        r"^\| `(.+)` \| (\d+) \| (\d+) \| (\w+) \|$", TABLE, re.MULTILINE
    )
]


def test_the_table_has_all_its_rows():
    assert len(ROWS) == TABLE.count("| `{method") > 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0]["model"])
def test_the_table_agrees_with_the_libraries(row):
    block, dim, size, tokenizer = row
    if block["method"] == "timm":
        known = timm.get_pretrained_cfg(block["model"], allow_unregistered=False)
        with torch.device("meta"):
            model = timm.create_model(block["model"], num_classes=0)
        assert known.hf_hub_id
        assert (model.head_hidden_size, known.input_size) == (dim, (3, size, size))
        assert tokenizer == "none"
        return
    model, tag = block["model"], block["pretrained"]
    assert (model, tag) in open_clip.list_pretrained()
    config, tag_config = open_clip.get_model_config(model), open_clip.get_pretrained_cfg(model, tag)
    open_clip_models._check_activation(model, config, tag, tag_config)
    assert tag_config["hf_hub"]
    assert (config["embed_dim"], config["vision_cfg"]["image_size"]) == (dim, size)
    theirs = config["text_cfg"].get("hf_tokenizer_name")
    assert tokenizer == ("transformers" if theirs else "CLIP")
