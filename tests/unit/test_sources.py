import hashlib
import json
import os

from changes import replace_unseen

from workflow_scripts.lib.sources import MISSING, Sources


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_digest_is_that_of_the_content(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("one\n")
    assert Sources(tmp_path / "record.json").digest(str(file)) == sha256("one\n")


def test_a_known_file_is_not_read_again(tmp_path):
    file, record = tmp_path / "words.txt", tmp_path / "record.json"
    file.write_text("one\n")
    Sources(record).digest(str(file))
    known = json.loads(record.read_text())
    known[str(file)][-1] = "from the record"
    record.write_text(json.dumps(known))
    assert Sources(record).digest(str(file)) == "from the record"
    os.utime(file, ns=(1, 1))
    assert Sources(record).digest(str(file)) == sha256("one\n")


def test_another_file_of_the_same_size_and_time_is_read(tmp_path):
    file, record = tmp_path / "words.txt", tmp_path / "record.json"
    file.write_text("one\n")
    Sources(record).digest(str(file))
    replace_unseen(file, b"two\n")
    assert Sources(record).digest(str(file)) == sha256("two\n")


def test_jobs_take_the_digest_on_record_whatever_the_file_is_now(tmp_path):
    file, record = tmp_path / "words.txt", tmp_path / "record.json"
    file.write_text("one\n")
    Sources(record).digest(str(file))
    file.write_text("two and more\n")
    assert Sources(record, read_files=False).digest(str(file)) == sha256("one\n")
    assert Sources(record).digest(str(file)) == sha256("two and more\n")


def test_missing_files_folders_and_a_damaged_record(tmp_path):
    sources = Sources(tmp_path / "record.json")
    assert sources.digest(str(tmp_path / "nowhere")) == MISSING
    assert sources.digest(str(tmp_path)) == sha256("")
    file = tmp_path / "words.txt"
    file.write_text("one\n")
    (tmp_path / "record.json").write_text("{")
    assert sources.digest(str(file)) == Sources(tmp_path / "record.json").digest(str(file))
