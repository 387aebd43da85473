"""Lists of images in tables and text files."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import IDS, LONG, make_folder, outcome, picture

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.images.containers import open_container


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "photos")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_list(folder, kind):
    absolute = str(folder / "top.webp")
    paths = [*IDS[:3], absolute, "gone.png", "cat", "../x.png", "/etc/x.png", "./cat/1.png", ""]
    labels = ["007", "NA", "", "null", *"abcdef"]
    path = folder / f"list.{kind}"
    if kind == "csv":
        rows = [f'"{path}",x,{label}' for path, label in zip(paths, labels, strict=True)]
        path.write_text("\n".join(["path,extra,label", *rows]), encoding="utf-8-sig")
    else:
        pq.write_table(pa.table({"path": paths, "label": labels}), path)
    good, bad = outcome(open_container("list", path))
    names = ["007", "NA", None, "null"]
    assert good == {i: (n, (folder / i).read_bytes()) for i, n in zip(IDS, names, strict=True)}
    assert {name: reason.split(":")[0] for name, reason in bad.items()} == {
        "gone.png": "cannot be opened",
        "cat": "not a regular file",
        "../x.png": "name with '..'",
        "/etc/x.png": "absolute name",
        "cat/1.png": "same image id as the entry at cat/1.png",
        "row 9": "no path in the list",
    }


def test_list_with_root_and_labels_of_every_type(folder, tmp_path):
    path = tmp_path / "elsewhere.parquet"
    columns = {
        "texts": pa.array(["a", None]),
        "integers": pa.array([3, None]),
        "categories": pa.array(["a", None]).dictionary_encode(),
    }
    for kind, labels in columns.items():
        pq.write_table(pa.table({"path": IDS[:2], "label": labels}), path)
        good, _ = outcome(open_container("list", path, root=folder))
        assert [good[i][0] for i in IDS[:2]] == ["3" if kind == "integers" else "a", None]
    good, _ = outcome(open_container("list", path, "subfolder", root=folder))
    assert {label for label, _ in good.values()} == {"cat"}
    pq.write_table(pa.table({"path": IDS[:2], "label": [0.5, 1.5]}), path)
    with pytest.raises(InputError, match="'label' must hold texts or integers, not double"):
        outcome(open_container("list", path, root=folder))


def test_list_as_openood_writes_it(folder, tmp_path):
    lines = ["cat/1.png 281", "  cat/deep/2 é.v2.jpg\t7 ", "dog/3.JPEG -1", "", "top.webp\r"]
    lines += [f"{LONG}  zero", "gone 1.png 2", "my folder/gone too.png"]
    path = tmp_path / "test.txt"
    path.write_bytes("\n".join(lines).encode("utf-8-sig"))
    container = open_container("list", path, root=folder)
    good, bad = outcome(container)
    labels = {name: label for name, (label, _) in good.items()}
    assert labels == dict(zip([*IDS, LONG], ["281", "7", None, None, "zero"], strict=True))
    assert good[IDS[1]][1] == (folder / IDS[1]).read_bytes()
    assert set(bad) == {"gone 1.png", "my folder/gone too.png"}
    assert "No such file" in bad["gone 1.png"]
    assert container.files() == [*IDS, LONG, "gone 1.png", "my folder/gone too.png"]


def test_list_in_another_encoding_is_refused(folder, tmp_path):
    path = tmp_path / "test.txt"
    path.write_bytes("é.png 1".encode("latin-1"))
    with pytest.raises(InputError, match=r"test.txt is not a readable list"):
        list(open_container("list", path, root=folder).entries())


@pytest.mark.parametrize(
    "text, message",
    [
        (b"file,label\na.png,x\n", "no column 'path' .columns: 'file', 'label'"),
        (b"", "not a readable table"),
        (b"path,label\na.png,x,y\n", "not a readable table"),
        (b"path\n\xff\xfe.png\n", "not a readable table"),
        (b"path,label\n", "holds no images"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    (tmp_path / "list.csv").write_bytes(text)
    with pytest.raises(InputError, match=message):
        list(open_container("list", tmp_path / "list.csv").entries())


@pytest.mark.parametrize("ending", [".csv", ".TSV", ".parquet"])
def test_labels_of_a_named_column(tmp_path, ending):
    (tmp_path / "a.png").write_bytes(picture(0))
    columns = {"path": ["a.png"], "fine label": ["fox"]}
    path = tmp_path / f"list{ending}"
    if ending == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        comma = "," if ending == ".csv" else "\t"
        path.write_text(f"path{comma}fine label\na.png{comma}fox\n")
    good, _ = outcome(open_container("list", path, label="fine label"))
    assert good["a.png"][0] == "fox"
    good, _ = outcome(open_container("list", path))
    assert good["a.png"][0] is None
    with pytest.raises(InputError, match=r"no column 'label' \(columns: 'path', 'fine label'\)"):
        outcome(open_container("list", path, label="label"))


@pytest.mark.parametrize("label", [" label", "Label"])
def test_a_misspelled_column_of_labels_is_refused(tmp_path, label):
    (tmp_path / "list.csv").write_text(f"path,{label}\na.png,fox\n")
    with pytest.raises(InputError, match=f"column '{label}' would not be read: call it 'label'"):
        list(open_container("list", tmp_path / "list.csv").entries())
    assert list(open_container("list", tmp_path / "list.csv", "none").entries())
