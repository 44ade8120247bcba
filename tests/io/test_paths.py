"""Paths and the search of folders."""

from cinerecon.io.paths import walk_visible


def test_links_to_folders_are_followed_once(tmp_path):
    root, archive = tmp_path / "cohort", tmp_path / "archive"
    for folder in (root / "P1", archive / "P2", archive / "P3", tmp_path / "other"):
        folder.mkdir(parents=True)
        (folder / "scan.h5").touch()
    (root / "P2").symlink_to(archive / "P2", target_is_directory=True)
    (root / "again").symlink_to(root / "P1", target_is_directory=True)  # would be searched twice
    (root / "P2b").symlink_to(archive / "P2", target_is_directory=True)
    (root / "above").symlink_to(tmp_path, target_is_directory=True)  # contains the folder that is searched
    (archive / "P2/loop").symlink_to("../P2", target_is_directory=True)
    (archive / "P2/more").symlink_to("../P3", target_is_directory=True)
    files = [path.relative_to(root).as_posix() for _, paths in walk_visible(root) for path in paths]
    assert files == ["P1/scan.h5", "P2/scan.h5", "P2/more/scan.h5"]


def test_an_excluded_folder_is_not_searched_through_a_link(tmp_path):
    root, results = tmp_path / "cohort", tmp_path / "results"
    root.mkdir()
    results.mkdir()
    (results / "scan.h5").touch()
    (root / "previous").symlink_to(results, target_is_directory=True)
    assert [paths for _, paths in walk_visible(root, without=results)] == [[]]
