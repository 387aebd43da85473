import numpy as np

from workflow_scripts.lib.texts.conjugation import conjugate
from workflow_scripts.lib.texts.models import Conjugate

SUPERCLASSES = Conjugate.model_fields["superclasses"].default


def test_conjugate_draws_a_superclass_for_each_adjective():
    adjectives = [f"word{i}" for i in range(1400)]
    phrases = conjugate(adjectives, SUPERCLASSES, seed=3)
    assert [phrase.split(" ")[0] for phrase in phrases] == adjectives
    counts = np.unique([phrase.split(" ")[1] for phrase in phrases], return_counts=True)
    assert counts[0].tolist() == sorted(SUPERCLASSES)
    assert len(SUPERCLASSES) == 14
    assert counts[1].min() > 60  # 100 on average
    assert counts[1].max() < 150
    assert phrases == conjugate(adjectives, SUPERCLASSES, seed=3)
    assert phrases != conjugate(adjectives, SUPERCLASSES, seed=4)
    assert conjugate(["furry", "old"], ["thing"]) == ["furry thing", "old thing"]
    assert conjugate([], SUPERCLASSES) == []
