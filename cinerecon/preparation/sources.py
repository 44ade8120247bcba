"""The files of an archive that contain cines, and their subjects."""

import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cinerecon.acquisition.open import is_cine_name, open_scan
from cinerecon.acquisition.source import CineSource, subject_in_header, subject_in_path
from cinerecon.archives.case_index import NUMBERED, case_names, holds_cases, list_cases
from cinerecon.archives.scan_list import labels_of
from cinerecon.errors import ConfigError, FileError, NotACineError
from cinerecon.io.checksums import hash_files, require_unchanged, state_of
from cinerecon.io.export import dicom, nifti
from cinerecon.io.kspace_array import holds_kspace
from cinerecon.io.magnitude import NIFTI_ENDINGS, has_dicom_name, is_dicom, open_magnitude, stem_of
from cinerecon.io.paths import absolute, walk_visible
from cinerecon.io.raw_file import holds_images_only
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.magnitude import SimulatedScan

FORMATS = "ISMRMRD .h5, CMRxRecon .mat, k-space .npz or .cfl, NIfTI, DICOM or .npz"
"""Formats that are prepared."""


@dataclass(frozen=True)
class Source:
    """A file, or a folder of DICOM images, that may contain cines.

    Attributes
    ----------
    path
        The file or folder.
    name
        Name of its cases, including folders.
    folder_subject
        First folder below the given one; most archives have one such folder per subject.
    is_dicom
        Whether it is a folder of DICOM images.
    is_given
        Whether the user named this file rather than a folder that contains it.
    """

    path: Path
    name: str
    folder_subject: str = ""
    is_dicom: bool = False
    is_given: bool = False


@dataclass(frozen=True)
class Item:
    """One scan: a file, or one series of DICOM images.

    Attributes
    ----------
    source, series
        File or folder, and the series within a DICOM folder with several.
    name
        Name of its cases.
    subject
        Name of the subject.
    is_subject_known
        False if the subject is unknown; the file is then treated as a separate subject.
    n_slices
        Number of slices.
    sha256
        Hash of all files from which the scan is read.
    state
        State of these files when the hash was computed, see `io.checksums.state_of`.
    """

    source: Source
    series: str
    name: str
    subject: str
    is_subject_known: bool
    n_slices: int
    sha256: str
    state: str

    def case_name(self, number: int) -> str:
        """Name of the case of a slice; a prepared case keeps its name."""
        return self.name if self.n_slices == 1 and NUMBERED.search(self.name) else f"{self.name}_slice{number:02d}"


def with_former_name(item: Item, cases: Mapping[str, str]) -> Item:
    """A scan under the name of its cases in the index, if a file of the same content was prepared under another name.

    Parameters
    ----------
    item
        The scan.
    cases
        The first case of each content, by the hash of the source.
    """
    case = cases.get(item.sha256)
    if case is None or NUMBERED.search(item.name) or item.case_name(0) in case_names(case):
        return item
    return replace(item, name=NUMBERED.sub("", case.partition("/")[2].removesuffix(".h5")))


def find_sources(
    paths: Iterable[Path],
    output: Path,
    listed: Iterable[Path] = (),
    is_known: Callable[[Path], bool] = lambda _: False,
) -> tuple[list[Source], dict[str, int]]:
    """Files given by name and files in folders that may contain cines, and the number of excluded files by reason.

    Parameters
    ----------
    paths
        Files and folders.
    output
        Folder of the cases.
    listed
        Files and folders of a list of scans; a missing one is reported when it is opened.
    is_known
        Whether a file is known to hold a cine, and need not be opened.

    Raises
    ------
    FileError
        If a path does not exist, or nothing is found.
    ConfigError
        If two sources would have the same name, or the output folder contains sources.
    """
    sources: list[Source] = []
    passed: Counter[str] = Counter()
    paths, listed = list(paths), dict.fromkeys(listed)
    for path in (*paths, *listed):
        if path.is_dir() and path.resolve() == output.resolve():
            what = "the output folder must not contain the input files"
            raise ConfigError(what, where=str(path), hint="choose another folder with -o")
        if path.is_dir():
            sources += _walk(path, output, passed, is_known)
        elif path in listed or path.exists():
            sources.append(Source(path, stem_of(path), is_given=True))
        else:
            raise FileError("there is no such file", where=str(path))
    if not sources:
        reasons = "; ".join(f"{n} {reason}" for reason, n in passed.items())
        what = "nothing to prepare is found" + (f", only {reasons}" if reasons else "")
        raise FileError(what, where=", ".join(map(str, (*paths, *listed))), hint=FORMATS)
    first: dict[Path, Source] = {}
    for source in sources:
        first.setdefault(absolute(source.path), source)
    return _distinct(list(first.values())), dict(passed)


def _distinct(sources: list[Source]) -> list[Source]:
    """The sources with unique names: by suffix or folder where two have the same name."""
    for longer in (lambda path: path.name.replace(".", "-"), lambda path: f"{path.absolute().parent.name}/{path.stem}"):
        count = Counter(source.name.casefold() for source in sources)
        same = {name for name, n in count.items() if n > 1}
        sources = [
            replace(source, name=(Path(source.name).parent / longer(source.path)).as_posix())
            if source.name.casefold() in same
            else source
            for source in sources
        ]
    names = Counter(source.name.casefold() for source in sources)
    labels = labels_of(source.path.absolute() for source in sources if names[source.name.casefold()] > 1)
    sources = [replace(source, name=labels.get(source.path.absolute(), source.name)) for source in sources]
    name, n = Counter(source.name for source in sources).most_common(1)[0]
    if n > 1:
        raise ConfigError(f"{n} files would be called '{name}'", hint="give the folder that contains all of them")
    return sources


def _walk(root: Path, output: Path, passed: Counter[str], is_known: Callable[[Path], bool]) -> Iterator[Source]:
    """Files below a folder that may contain cines; in a folder of prepared cases, those of its index."""
    if holds_cases(root):
        for path in list_cases(root):
            yield Source(path, Path(*path.relative_to(root).parts[1:]).with_suffix("").as_posix())
        return
    for folder, files in walk_visible(root, without=output):
        relative = folder.relative_to(root)
        subject = relative.parts[0] if relative.parts else ""
        dicom_files = False
        for path in files:
            if is_known(path):
                yield Source(path, (relative / stem_of(path)).as_posix(), subject)
            elif _is_reconstruction(path):
                passed["image files written by a reconstruction"] += 1
            elif _may_hold_a_cine(path):
                yield Source(path, (relative / stem_of(path)).as_posix(), subject)
            elif not dicom_files and has_dicom_name(path) and is_dicom(path):
                dicom_files = True
            elif path.suffix.lower() == ".mat":
                passed["MATLAB files that contain no cine k-space (masks, maps)"] += 1
        if dicom_files:
            name = relative.as_posix() if relative.parts else root.absolute().name
            yield Source(folder, name, subject, is_dicom=True)


def _is_reconstruction(path: Path) -> bool:
    """Whether a file contains reconstructions, which are not suitable as a reference."""
    name = path.name.lower()
    if name.endswith(NIFTI_ENDINGS):
        return nifti.holds_reconstruction(path)
    if has_dicom_name(path) and is_dicom(path):
        return dicom.holds_reconstruction(path)
    return is_cine_name(path) and holds_images_only(path)


def _may_hold_a_cine(path: Path) -> bool:
    name = path.name.lower()
    if name.endswith(".npz") and not holds_kspace(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return "magnitude.npy" in archive.namelist()
        except (OSError, zipfile.BadZipFile):
            return False
    return name.endswith(NIFTI_ENDINGS) or is_cine_name(path)


@dataclass(frozen=True)
class Content:
    """The content of a source.

    Attributes
    ----------
    items
        Its scans, and an error for each series that is a segmentation.
    opened
        The opened scans, by their series.
    """

    items: tuple[Item | NotACineError, ...]
    opened: Mapping[str, CineSource]


def survey(source: Source, config: PrepareConfig) -> Content:
    """Open a source, read its headers and hash its files.

    Raises
    ------
    NotACineError
        If it holds images without a time axis.
    CineReconError
        If it cannot be read correctly, or its name cannot be written to the index.
    """
    try:
        str(source.path).encode()
    except UnicodeEncodeError:
        printable = str(source.path).encode(errors="backslashreplace").decode()
        raise FileError("the name of the file is not UTF-8", where=printable, hint="rename it") from None
    items: list[Item | NotACineError] = []
    scans: dict[str, CineSource] = {}
    for series, opened in _open_all(source, config):
        if isinstance(opened, SimulatedScan):
            try:
                opened.images.refuse_segmentation()
            except NotACineError as error:
                items.append(error)
                continue
        name = f"{source.name}-{series}" if series else source.name
        subject = _subject(source, opened, config)
        state, sha256 = state_of(opened.files), hash_files(opened.files)
        require_unchanged(opened.files, state)
        item = Item(source, series, name, subject or name, bool(subject), opened.n_slices, sha256, state)
        items.append(item)
        scans[series] = _with_content(opened, item)
    return Content(tuple(items), scans)


def open_item(item: Item, config: PrepareConfig) -> CineSource:
    """Open a scan of a source that was surveyed before, e.g. by a run that was interrupted."""
    return _with_content(dict(_open_all(item.source, config))[item.series], item)


def _with_content(opened: CineSource, item: Item) -> CineSource:
    """An opened scan; phase and coils that are simulated depend on its content alone."""
    return replace(opened, content=item.sha256) if isinstance(opened, SimulatedScan) else opened


def _open_all(source: Source, config: PrepareConfig) -> list[tuple[str, CineSource]]:
    """The contents of a source, by series."""
    path = source.path
    is_kspace = holds_kspace(path, has_axes=False)
    if source.is_dicom or is_dicom(path) or (path.name.lower().endswith((*NIFTI_ENDINGS, ".npz")) and not is_kspace):
        return [(images.name, SimulatedScan(images, config)) for images in open_magnitude(path)]
    return [("", open_scan(path, config.maps))]


def _subject(source: Source, opened: CineSource, config: PrepareConfig) -> str:
    """The subject of a scan: by the pattern of the settings, the header, the folder, or the study."""
    if config.subject:
        return subject_in_path(config.subject, source.path)
    return opened.subject or source.folder_subject or subject_in_header(opened)
