"""Scores are read from ``scores.csv`` as written; damaged rows are left out."""

import csv
import os

import pytest

from cinerecon.errors import FileError
from cinerecon.evaluation.score import append_scores, read_scores, write_frames


def test_scores_come_back_as_they_were(make_scores, tmp_path):
    scores = make_scores(3)
    append_scores(tmp_path, scores[:2])
    append_scores(tmp_path, scores[2:])
    assert list(map(repr, read_scores(tmp_path))) == list(map(repr, scores))
    assert read_scores(tmp_path / "elsewhere") == []


def test_an_edited_row_is_no_result(make_scores, tmp_path):
    scores = make_scores(2)
    append_scores(tmp_path, scores)
    path = tmp_path / "scores.csv"
    assert "30.7" in path.read_text()
    path.write_text(path.read_text().replace("30.7", "39.7"))
    assert {score.psnr for score in read_scores(tmp_path)} == {s.psnr for s in scores} - {30.7}


def test_a_row_after_one_cut_short_is_a_row(make_scores, tmp_path):
    scores = make_scores(2)
    append_scores(tmp_path, scores[:2])
    path = tmp_path / "scores.csv"
    path.write_bytes(path.read_bytes()[:-20])
    append_scores(tmp_path, scores[2:])
    assert [score.task for score in read_scores(tmp_path)] == [scores[0].task, scores[2].task, scores[3].task]


def test_columns_with_former_names_are_read_and_continued(make_scores, tmp_path):
    scores = make_scores()
    append_scores(tmp_path, scores[:1])
    path = tmp_path / "scores.csv"
    header = path.read_bytes().replace(b",subject,", b",person,", 1)
    path.write_bytes(header.replace(b",frame_reference_area,", b",frame_true_area,", 1))
    append_scores(tmp_path, scores[1:2])
    assert [score.subject for score in read_scores(tmp_path)] == [score.subject for score in scores[:2]]


def test_another_table_is_not_taken_for_scores(tmp_path):
    (tmp_path / "scores.csv").write_text("scan,psnr\na,30\n")
    with pytest.raises(FileError, match="different columns"):
        read_scores(tmp_path)


def test_frames_are_lines_of_their_own(make_scores, tmp_path):
    with write_frames(tmp_path, make_scores(1)).open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["frame"], float(row["psnr"])) for row in rows] == [
        ("ktslr", "0", 30.0),
        ("ktslr", "1", 31.5),
        ("slrnet", "0", 30.0),
        ("slrnet", "1", 31.5),
    ]


def test_a_full_disk_is_an_error_of_three_lines(make_scores, tmp_path, monkeypatch):
    """What was scored before it is read again."""
    scores = make_scores(2)
    append_scores(tmp_path, scores[:1])

    def full(_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left") as error:
        append_scores(tmp_path, scores[1:2])
    assert error.value.where == str(tmp_path / "scores.csv")
    assert list(map(repr, read_scores(tmp_path))) == [repr(scores[0])]
    monkeypatch.undo()
    with pytest.raises(FileError, match="cannot write"):
        append_scores(tmp_path / "scores.csv", scores)
