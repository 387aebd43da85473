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
    (yaml.safe_load(block), int(dim), int(size), tokenizer, licence)
    for block, dim, size, tokenizer, licence in re.findall(
        r"^\| `(.+)` \| (\d+) \| (\d+) \| (\w+) \|(?: (\S+) \|)?$", TABLE, re.MULTILINE
    )
]


def test_the_table_has_all_its_rows():
    assert len(ROWS) == TABLE.count("| `{method") > 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0]["model"])
def test_the_table_agrees_with_the_libraries(row):
    block, dim, size, tokenizer, licence = row
    if block["method"] == "timm":
        known = timm.get_pretrained_cfg(block["model"], allow_unregistered=False)
        with torch.device("meta"):
            model = timm.create_model(block["model"], num_classes=0)
        assert known.hf_hub_id
        assert (model.head_hidden_size, known.input_size) == (dim, (3, size, size))
        assert (tokenizer, licence) == ("none", known.license)
        return
    model, tag = block["model"], block["pretrained"]
    assert (model, tag) in open_clip.list_pretrained()
    config, tag_config = open_clip.get_model_config(model), open_clip.get_pretrained_cfg(model, tag)
    open_clip_models._check_activation(model, config, tag, tag_config)
    assert tag_config["hf_hub"]
    assert (config["embed_dim"], config["vision_cfg"]["image_size"]) == (dim, size)
    theirs = config["text_cfg"].get("hf_tokenizer_name")
    assert tokenizer == ("transformers" if theirs else "CLIP")


def test_texts_are_cut_where_the_table_says():
    contexts = {
        row[0]["model"]: open_clip.get_model_config(row[0]["model"])["text_cfg"]["context_length"]
        for row in ROWS
        if row[0]["method"] == "open_clip"
    }
    for model, length in contexts.items():
        known = {"PE-Core-B-16": 32, "PE-Core-L-14-336": 32, "PE-Core-bigG-14-448": 72}
        assert length == known.get(model, 64 if "SigLIP" in model else 77), model


def test_licences_are_those_that_timm_records():
    """Of the weights' own repositories where timm has them too, else of timm's image models."""
    recorded = {}
    for name in timm.list_models(pretrained=True):
        known = timm.get_pretrained_cfg(name)
        recorded.setdefault(known.license, []).append(known.hf_hub_id or "")
    families = {"metaclip_2pt5b": "cc-by-nc-4.0", "metaclip2_worldwide": "cc-by-nc-4.0",
                "mclip2_dfndr2b": "apple-amlr", ".dfn2b": "apple-ascl", ".dfn5b": "apple-ascl",
                "pe_core": "apache-2.0", "siglip": "apache-2.0"}  # fmt: skip
    for part, licence in families.items():
        found = {name for name, ids in recorded.items() if any(part in each for each in ids)}
        assert found == {licence}, part
        assert licence in TABLE
