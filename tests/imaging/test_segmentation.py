"""Label maps: what is written is what is read, wherever the axes point; what cannot be told is refused."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from engine.imaging.segmentation import Segmentation, read_segmentation, write_segmentation
from engine.imaging.volume import Volume, VolumeError, centred_affine

CLASSES = ("background", "liver", "left_kidney", "spleen")
GRID = (12, 14, 10)
AFFINE = centred_affine(GRID, (2.0, 2.0, 2.0))
NOTICE = "SYNTHETIC - not for diagnosis"


@pytest.fixture
def labels() -> np.ndarray:
    """Three boxes of 80, 18 and 8 voxels, each on a side of its own."""
    made = np.zeros(GRID, np.uint8)
    made[7:11, 2:7, 3:7] = 1
    made[1:4, 3:6, 1:3] = 2
    made[1:3, 10:12, 7:9] = 3
    return made


def write(folder: Path, data: np.ndarray, affine: np.ndarray = AFFINE, table: str = "", name: str = "x.nii.gz") -> Path:
    path = folder / name
    nib.Nifti1Image(data, affine).to_filename(path)
    if table:
        (folder / "x.tsv").write_text("index\tname\n" + table, "utf-8")
    return path


def read(path: Path, **other) -> tuple[Segmentation, list[str]]:
    return read_segmentation(path, **{"classes": CLASSES, "grid": GRID, "affine": AFFINE} | other)


def refusal(path: Path, **other) -> str:
    """What is said of a file; a single sentence that names it."""
    with pytest.raises(VolumeError) as refused:
        read(path, **other)
    said = str(refused.value)
    assert "\n" not in said
    return said


def test_what_is_written_is_read(labels: np.ndarray, tmp_path: Path):
    path = tmp_path / "sub-01" / "sub-01_dseg.nii.gz"
    write_segmentation(Segmentation(labels, AFFINE, CLASSES), path, description=NOTICE)
    found, notes = read(path)
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.labels.dtype, found.classes, notes) == (np.uint8, CLASSES, [])
    np.testing.assert_allclose(found.affine, AFFINE)


def test_beside_the_labels_stand_their_names_and_what_they_are(labels: np.ndarray, tmp_path: Path):
    write_segmentation(Segmentation(labels, AFFINE, CLASSES), tmp_path / "a_dseg.nii.gz", description=NOTICE)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a_dseg.json", "a_dseg.nii.gz", "a_dseg.tsv"]
    assert json.loads((tmp_path / "a_dseg.json").read_text()) == {"Description": NOTICE}
    table = (tmp_path / "a_dseg.tsv").read_text()
    assert table == "index\tname\n0\tbackground\n1\tliver\n2\tleft_kidney\n3\tspleen\n"
    image = nib.Nifti1Image.from_filename(tmp_path / "a_dseg.nii.gz")
    assert image.header["descrip"].item().decode() == NOTICE
    assert image.get_data_dtype() == np.uint8


@pytest.mark.parametrize("axcodes", ["LAS", "LPS", "PSR", "LIA"])
@pytest.mark.parametrize("spacing", [1.0, 1.3])
def test_the_way_the_axes_run_does_not_matter(tmp_path: Path, axcodes: str, spacing: float):
    """The same labels to the voxel; at 1 mm each middle is between two, and a file's affine is rounded to float32."""
    data = np.random.default_rng(0).integers(0, 4, (24, 28, 20)).astype(np.uint8)
    source, place = Volume(data, centred_affine((24, 28, 20), (spacing, spacing, spacing))), AFFINE.copy()
    for affine in (source.affine, place):
        affine[:3, 3] += 0.1, -33.7, 1 / 3
    turned = source.reoriented(axcodes)
    straight, notes = read(write(tmp_path, source.data, source.affine, name="ras.nii.gz"), affine=place)
    found, _ = read(write(tmp_path, turned.data, turned.affine, name="turned.nii.gz"), affine=place)
    np.testing.assert_array_equal(found.labels, straight.labels)
    assert "resampled" in notes[0]


@pytest.mark.parametrize("axcodes", ["RAS", "LAS", "PIR"])
def test_the_same_voxels_turned_stay_as_they_are(labels: np.ndarray, tmp_path: Path, axcodes: str):
    turned = Volume(labels, AFFINE).reoriented(axcodes)
    found, notes = read(write(tmp_path, turned.data, turned.affine))
    np.testing.assert_array_equal(found.labels, labels)
    assert len(notes) == 1
    assert "no table" in notes[0]


def test_from_2_to_4_mm_by_the_nearest_voxel(labels: np.ndarray, tmp_path: Path):
    """On a grid that has every second voxel's middle, each voxel is that one's."""
    coarse = AFFINE @ np.diag([2.0, 2, 2, 1])
    found, notes = read(write(tmp_path, labels), grid=(6, 7, 5), affine=coarse)
    np.testing.assert_array_equal(found.labels, labels[::2, ::2, ::2])
    assert notes[0] == (
        "x.nii.gz was resampled from 12 x 14 x 10 voxels of 2 x 2 x 2 mm "
        "to the model's 6 x 7 x 5 voxels of 4 x 4 x 4 mm, nearest neighbour."
    )


def test_volumes_are_counts_times_a_voxel(labels: np.ndarray):
    made = Segmentation(labels, AFFINE, (*CLASSES, "heart"))
    assert made.volumes_ml() == pytest.approx({"liver": 0.64, "left_kidney": 0.144, "spleen": 0.064, "heart": 0.0})
    assert int(made.mask("spleen").sum()) == 8
    with pytest.raises(VolumeError, match=r"lung is no class .* its classes are background, liver"):
        made.mask("lung")


def test_codes_are_classes_by_their_names(labels: np.ndarray, tmp_path: Path):
    """Numbered as the file likes, parted and written as it likes, in any whole type."""
    codes = np.array([0, 1009, 5, 43], np.float32)[labels]
    path = write(tmp_path, codes, table="5\tLeft Kidney\t\n1009\tLIVER\n\n43\tspleen\n99\tlung\n")
    found, notes = read(path)
    np.testing.assert_array_equal(found.labels, labels)
    assert notes == ["1 names in x.tsv are no class of the model's (lung); none of them is in the map."]


@pytest.mark.parametrize("table", ["x_dseg.tsv", "dseg.tsv", "../dseg.tsv", "../../dseg.tsv"])
def test_the_table_may_stand_where_bids_has_it(labels: np.ndarray, tmp_path: Path, table: str):
    folder = tmp_path / "sub-1" / "anat"
    folder.mkdir(parents=True)
    path = write(folder, labels[..., ::-1] * 10)
    (folder / table).write_text("index\tname\n10\tliver\n20\tleft-kidney\n30\tSpleen\n", "utf-8")
    np.testing.assert_array_equal(read(path)[0].labels, labels[..., ::-1])


@pytest.mark.parametrize(
    ("tables", "taken"),
    [
        (["dseg.tsv", "desc-a_dseg.tsv"], "desc-a_dseg.tsv"),
        (["dseg.tsv", "sub-1/sub-1_dseg.tsv"], "sub-1/sub-1_dseg.tsv"),
        (["dseg.tsv", "sub-1/ses-1/anat/sub-1_desc-b_dseg.tsv"], "dseg.tsv"),
        (["desc-a_dseg.tsv", "sub-1_dseg.tsv"], None),
    ],
)
def test_a_table_is_inherited_as_in_bids(labels: np.ndarray, tmp_path: Path, tables: list[str], taken: str | None):
    """The nearest of those that are meant for the map, the one that says most of it; never one for another map."""
    folder = tmp_path / "sub-1" / "ses-1" / "anat"
    folder.mkdir(parents=True)
    path = write(folder, labels, name="sub-1_ses-1_desc-a_dseg.nii.gz")
    for table in tables:
        first, second = ("liver", "spleen") if table == taken else ("spleen", "liver")
        (tmp_path / table).write_text(f"index\tname\n1\t{first}\n2\tleft kidney\n3\t{second}\n", "utf-8")
    if taken is None:
        said = "desc-a_dseg.tsv and sub-1_dseg.tsv both name the labels of sub-1_ses-1_desc-a_dseg.nii.gz; keep one"
        assert refusal(path) == said
    else:
        np.testing.assert_array_equal(read(path)[0].labels, labels)


@pytest.mark.parametrize("column", ["index", "name"])
def test_a_column_twice_is_refused(labels: np.ndarray, tmp_path: Path, column: str):
    path = write(tmp_path, labels)
    (tmp_path / "x.tsv").write_text(f"index\tname\t{column}\n1\tliver\t2\n", "utf-8")
    assert refusal(path) == f"x.tsv has two columns {column}; keep one"


@pytest.mark.parametrize(
    ("axcodes", "part", "shift", "fits"),
    [
        ("RAS", slice(None), 0.0, True),
        ("LPS", slice(2, 8), 0.0, True),
        ("RAS", slice(None), 0.7, False),
        ("RAS", slice(None), 2.0, False),
    ],
)
def test_a_map_that_has_to_be_aligned(
    labels: np.ndarray, tmp_path: Path, axcodes: str, part: slice, shift: float, fits: bool
):
    """The grid's own voxels are taken, turned or a part of them; others are refused, and without the condition resampled."""
    whole = Volume(labels, AFFINE).reoriented(axcodes)
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (part.start or 0) + np.array([shift, 0, 0])
    path = write(tmp_path, whole.data[:, :, part], affine)
    assert read(path)[0].labels.any()
    if fits:
        assert read(path, aligned=True)[0].labels.any()
    else:
        assert "x.nii.gz does not lie on the model's grid" in refusal(path, aligned=True)


def test_what_is_missing_is_said(labels: np.ndarray, tmp_path: Path):
    labels[labels == 3] = 0
    found, notes = read(write(tmp_path, labels[:6], table="1\tliver\n2\tleft kidney\n"))
    assert not found.mask("spleen").any()
    assert notes == [
        "x.nii.gz was resampled from 6 x 14 x 10 voxels of 2 x 2 x 2 mm "
        "to the model's 12 x 14 x 10 voxels of 2 x 2 x 2 mm, nearest neighbour.",
        "x.nii.gz covers 50% of the model's field of view; the rest is taken as background.",
        "x.nii.gz does not have these classes of the model's: liver, spleen.",
    ]


def test_what_the_grid_does_not_show_is_said(labels: np.ndarray, tmp_path: Path):
    _, notes = read(write(tmp_path, labels), grid=(12, 9, 10))
    assert notes[-1].startswith("spleen of x.nii.gz: no voxel of the model's grid is of it")


def test_without_a_table_codes_are_indices(labels: np.ndarray, tmp_path: Path):
    _, notes = read(write(tmp_path, labels))
    assert notes == [
        "x.nii.gz has no table of names beside it: its labels 1 to 3 are taken as liver, left_kidney, spleen."
    ]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    assert refusal(tmp_path / "x.nii.gz").endswith("x.nii.gz does not exist; check the path")


def test_a_file_that_is_no_image_is_refused(tmp_path: Path):
    (tmp_path / "x.nii.gz").write_bytes(b"%PDF-1.7" + b" " * 600)
    assert "x.nii.gz cannot be read as NIfTI: this is no NIfTI file but a PDF" in refusal(tmp_path / "x.nii.gz")


def test_four_axes_are_refused(tmp_path: Path):
    said = refusal(write(tmp_path, np.zeros((4, 4, 4, 3), np.uint8)))
    assert said == "x.nii.gz has shape (4, 4, 4, 3): one 3D volume is needed, split it first"


def test_what_is_not_finite_is_refused(labels: np.ndarray, tmp_path: Path):
    data = labels.astype(np.float32)
    data[0, 0, 0] = np.nan
    assert refusal(write(tmp_path, data)).startswith("x.nii.gz has 1 voxels that are NaN or infinite; export it again")


def labelled(labels: np.ndarray, value: float) -> np.ndarray:
    data = labels.astype(np.float32)
    data[0, 0, 0] = value
    return data


@pytest.mark.parametrize(
    ("value", "table", "said"),
    [
        (1.5, "", "x.nii.gz has values such as 1.5, which are no labels; save it as whole numbers"),
        (-2, "", "x.nii.gz has the value -2, labels are 0 or more; number them from 1"),
        (2e9, "", "x.nii.gz has the value 2000000000, which is too great for a label; number them from 1"),
        (
            4,
            "",
            "x.nii.gz has the label 4, the model's classes are 1 to 3 (liver, left_kidney, spleen); "
            "put a table dseg.tsv with the columns index and name beside it",
        ),
        (
            7,
            "1\tliver\n2\tleft kidney\n3\tspleen\n",
            "x.nii.gz has the label 7, which x.tsv does not list; add its name there",
        ),
        (
            7,
            "1\tliver\n2\tleft kidney\n3\tspleen\n7\tPancreas\n",
            "x.nii.gz has the label 7 (Pancreas), which is no class of the model's (liver, left_kidney, spleen); "
            "rename it, or set its voxels to 0",
        ),
        (
            0,
            "0\tliver\n1\tliver\n2\tleft kidney\n3\tspleen\n",
            "x.tsv names the label 0 liver, but 0 is the background; number the labels from 1",
        ),
        (0, "1\tliver\n1\tspleen\n", "x.tsv has two names for the index 1; keep one"),
        (0, "one\tliver\n", "x.tsv has the index 'one', which is no whole number; write 0, 1, 2 and so on"),
    ],
)
def test_a_label_that_means_nothing_is_refused(labels: np.ndarray, tmp_path: Path, value: float, table: str, said: str):
    assert refusal(write(tmp_path, labelled(labels, value), table=table)) == said


def test_a_table_of_something_else_is_refused(labels: np.ndarray, tmp_path: Path):
    path = write(tmp_path, labels)
    (tmp_path / "x.tsv").write_text("label\tcolour\n1\tred\n", "utf-8")
    said = "x.tsv has the columns label, colour; a table of labels has index and name, parted by tabs"
    assert refusal(path) == said
    (tmp_path / "x.tsv").write_text("", "utf-8")
    assert "x.tsv has the columns none; a table of labels has index and name" in refusal(path)
    (tmp_path / "x.tsv").write_bytes(b"\xff\xfe\x00")
    assert "x.tsv cannot be read as a table" in refusal(path)


@pytest.mark.parametrize("table", ["", "1\tBackground\n"])
def test_only_background_is_refused(labels: np.ndarray, tmp_path: Path, table: str):
    data = (labels > 0).astype(np.uint8) if table else np.zeros_like(labels)
    said = "x.nii.gz holds nothing but background (0); save the labels of its structures in it"
    assert refusal(write(tmp_path, data, table=table)) == said


def test_a_map_of_another_place_is_refused(labels: np.ndarray, tmp_path: Path):
    away = AFFINE.copy()
    away[0, 3] += 500
    said = refusal(write(tmp_path, labels, away))
    assert said.startswith(
        "no labelled voxel of x.nii.gz lies within the model's field of view; save it with the affine"
    )


def test_two_livers_are_refused(labels: np.ndarray, tmp_path: Path):
    labels[0:4, 10:13, 0:3] = 1
    path = write(tmp_path, labels)
    affine = AFFINE @ np.diag([10.0, 10, 10, 1])
    nib.Nifti1Image(labels, affine).to_filename(path)
    said = refusal(path, affine=affine, single=("liver",))
    assert said == "x.nii.gz shows 2 livers of 640 and 288 ml; keep one"
    read(path, affine=affine, single=("spleen", "heart"))


def test_an_islet_is_no_second_liver(labels: np.ndarray, tmp_path: Path):
    """Less than 15% of it; and voxels that touch at a corner are one piece."""
    labels[0, 10:14, 0:3] = 1
    labels[11, 7, 7] = 1
    found, _ = read(write(tmp_path, labels), single=("liver",))
    assert int(found.mask("liver").sum()) == 93


def test_a_name_that_bids_does_not_have_is_refused(labels: np.ndarray, tmp_path: Path):
    made = Segmentation(labels, AFFINE, CLASSES)
    with pytest.raises(VolumeError, match=r"liver\.nii is no name of a label map; let it end in _dseg\.nii\.gz"):
        write_segmentation(made, tmp_path / "liver.nii", description=NOTICE)
    (tmp_path / "file").touch()
    with pytest.raises(VolumeError, match="cannot be written"):
        write_segmentation(made, tmp_path / "file" / "a_dseg.nii.gz", description=NOTICE)


@pytest.mark.parametrize(
    ("dtype", "shape", "classes", "said"),
    [
        (np.int16, GRID, CLASSES, "not int16 of shape"),
        (np.uint8, (2, *GRID), CLASSES, r"of shape \(2, 12, 14, 10\); convert it"),
        (np.uint8, GRID, CLASSES[:3], "a voxel is of class 3, the last is 2; give a name for each class"),
        (np.uint8, GRID, CLASSES[:1], "1 classes; a segmentation has the background and 1 to 255 others"),
        (np.uint8, GRID, (*CLASSES, "Left Kidney"), "have the same name; rename one"),
    ],
)
def test_what_is_no_segmentation_is_refused(dtype: type, shape: tuple[int, ...], classes: tuple[str, ...], said: str):
    with pytest.raises(VolumeError, match=said):
        Segmentation(np.full(shape, 3, dtype), AFFINE, classes)
