"""The JSON schema of the config, for editors: `python -m workflow_scripts.lib.config.schema`."""

import json
from pathlib import Path

from pydantic.json_schema import GenerateJsonSchema

from workflow_scripts.lib.config.models import Config

FILE = Path(__file__).parents[3] / "config/schemas/config.schema.json"


class _Untitled(GenerateJsonSchema):
    """Without the titles that pydantic makes of the keys' names."""

    def field_title_should_be_set(self, schema):
        return False


def schema_text():
    """The schema as the text of its file."""
    schema = Config.model_json_schema(schema_generator=_Untitled)
    schema = {"$schema": GenerateJsonSchema.schema_dialect} | schema
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(schema_text(), "utf-8")
