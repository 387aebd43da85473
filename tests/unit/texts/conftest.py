import pytest
from small_corpora import write_wordnet


@pytest.fixture
def wordnet(tmp_path):
    return write_wordnet(tmp_path / "wordnet")
