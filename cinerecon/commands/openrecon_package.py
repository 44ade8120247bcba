"""Archives that OpenRecon installs: a container image, its label, and an application guide.

The layouts are those of the packaging guide of the manufacturer. VA60 and VA61: the image as ``NAME.tar`` and the guide
as ``NAME.pdf``; the label is in the image. VA70 and later: ``ApplSpec.json``, ``Container.tar``, ``Manual.pdf`` and
``Properties.json``; the image has no label.
"""

import base64
import binascii
import hashlib
import json
import tarfile
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinerecon.commands.openrecon_label import LABEL_KEY, Label
from cinerecon.commands.openrecon_options import PackageOptions
from cinerecon.errors import ConfigError, FileError, nearest_name
from cinerecon.io.atomic import moved_into_place, refuse_existing

SOFTWARE = ("va60", "va70")
"""Software versions of the scanner that introduced a layout."""
ROOT = "root"


@dataclass(frozen=True)
class ContainerImage:
    """A container image in a .tar file.

    Attributes
    ----------
    digest
        Digest of its configuration, ``sha256:...``.
    labels
        Its labels.
    user
        The user that it runs as.
    is_oci
        Whether it has the OCI layout, which VA60 does not import.
    """

    digest: str
    labels: dict[str, str]
    user: str
    is_oci: bool


@dataclass(frozen=True)
class Archive:
    """An archive that was written."""

    path: Path
    digest: str
    user: str


def make_package(options: PackageOptions) -> Archive:
    """Check image and label, and write the archive.

    Raises
    ------
    ConfigError
        If the version of the software is unknown.
    FileError
        If a file cannot be read, image and label do not belong together, or the archive exists.
    """
    if options.software not in SOFTWARE:
        hint = nearest_name(options.software, SOFTWARE)
        raise ConfigError(f"unknown software version '{options.software}'", where="--software", hint=hint)
    label, image = read_label(options.label), read_image(options.image)
    _check_image(image, label, options)
    general = label["general"]
    name = f"OpenRecon_{general['vendor']}_{general['id']}_V{general['version']}"
    is_first = options.software == SOFTWARE[0]
    path = options.output / (f"{name}.zip" if is_first else f"{name}.OpenReconPackage.zip")
    refuse_existing(path, force=options.force)
    manual = guide_of(label) if options.manual is None else _read_guide(options.manual)
    with moved_into_place(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(options.image, f"{name}.tar" if is_first else "Container.tar")
        archive.writestr(f"{name}.pdf" if is_first else "Manual.pdf", manual)
        if not is_first:
            archive.writestr("ApplSpec.json", json.dumps(label, indent=2))
            archive.writestr("Properties.json", json.dumps(properties_of(label, image), indent=2))
    return Archive(path, image.digest, image.user)


def read_label(path: Path) -> Label:
    """Read a label.

    Raises
    ------
    FileError
        If it cannot be read or lacks the name of the application.
    """
    try:
        label = json.loads(path.read_text(encoding="utf-8"))
        [label["general"][key] for key in ("vendor", "id", "version")]
    except OSError as error:
        raise FileError(f"cannot read the label: {error.strerror}", where=str(path), hint="openrecon label") from None
    except (ValueError, KeyError, TypeError):
        hint = "cinerecon openrecon label writes it"
        raise FileError("not an OpenRecon label", where=str(path), hint=hint) from None
    return dict(label)


def read_image(path: Path) -> ContainerImage:
    """Read the configuration of an image from ``docker save`` or ``podman save``, or in the OCI layout.

    Raises
    ------
    FileError
        If the file is missing or not a container image.
    """
    try:
        with tarfile.open(path) as archive:
            is_oci = "oci-layout" in archive.getnames()
            content = _member(archive, _configuration_name(archive))
        config = json.loads(content)
        settings = config.get("config") or {}
        labels, user = dict(settings.get("Labels") or {}), settings.get("User") or ROOT
    except OSError as error:
        raise FileError(f"cannot read the image: {error.strerror}", where=str(path)) from None
    except (tarfile.TarError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        hint = "docker save IMAGE -o image.tar"
        raise FileError("not a container image", where=str(path), hint=hint) from None
    return ContainerImage("sha256:" + hashlib.sha256(content).hexdigest(), labels, user, is_oci)


def _configuration_name(archive: tarfile.TarFile) -> str:
    """The name of the file with the configuration of the image."""
    if "manifest.json" in archive.getnames():
        return str(json.loads(_member(archive, "manifest.json"))[0]["Config"])
    index = json.loads(_member(archive, "index.json"))
    manifest = json.loads(_member(archive, _blob(index["manifests"][0]["digest"])))
    return _blob(manifest["config"]["digest"])


def _blob(digest: str) -> str:
    """The name of a file in the OCI layout."""
    return "blobs/" + digest.replace(":", "/")


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """The content of a file in an archive."""
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _check_image(image: ContainerImage, label: Label, options: PackageOptions) -> None:
    """Check that the scanner accepts the image with this label."""
    where = str(options.image)
    stored = image.labels.get(LABEL_KEY)
    if options.software != SOFTWARE[0]:
        if stored is not None:
            raise FileError("the image has a label, which only VA60 uses", where=where, hint="build it without --label")
        return
    if image.is_oci:
        hint = "podman save --format docker-archive, or docker 24"
        raise FileError("VA60 does not import the OCI layout", where=where, hint=hint)
    if stored is None:
        raise FileError("the image has no OpenRecon label", where=where, hint=f'docker build --label "{LABEL_KEY}=..."')
    try:
        is_same = json.loads(base64.b64decode(stored, validate=True)) == label
    except (binascii.Error, ValueError):
        is_same = False
    if not is_same:
        hint = "build the image with this label, or pass the label of the image with --label"
        raise FileError(f"the label of the image differs from {options.label.name}", where=where, hint=hint)


def properties_of(label: Label, image: ContainerImage) -> dict[str, Any]:
    """The content of ``Properties.json``; the identifier depends only on vendor and application."""
    general = label["general"]
    name = "".join(filter(str.isalnum, general["id"].lower()))
    return {
        "package_format": "Alpaca",
        "application_guid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"openrecon/{general['vendor']}/{general['id']}")),
        "image_name": f"local/{name}:latest",
        "execution_location": "local",
        "persistence": "permanent",
        "image_digest": image.digest,
    }


def _read_guide(path: Path) -> bytes:
    """Read an application guide."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read the guide: {error.strerror}", where=str(path)) from None
    if not content.startswith(b"%PDF-"):
        raise FileError("the guide is not a PDF file", where=str(path))
    return content


def guide_of(label: Label) -> bytes:
    """An application guide of one page (PDF) with the application and its parameters."""
    import io
    import textwrap

    from matplotlib.figure import Figure

    general = label["general"]
    lines = [general["information"]["en"], general["regulatory_information"]["safety_advices"], "", "Parameters", ""]
    for parameter in label["parameters"]:
        lines.append(f"{parameter['label']['en']} ({parameter['id']}), default: {parameter['default'] or 'empty'}")
        lines.append(f"    {parameter['information']['en']}")
        lines += [f"    {value['id']}: {value['name']['en']}" for value in parameter.get("values", [])]
    figure = Figure(figsize=(8.27, 11.69))
    figure.text(0.08, 0.94, f"{general['name']['en']} {general['version']}", fontsize=18)
    wrapped = [part for line in lines for part in textwrap.wrap(line, 100, subsequent_indent="    ") or [""]]
    figure.text(0.08, 0.92, "\n".join(wrapped), fontsize=9, verticalalignment="top", linespacing=1.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    return buffer.getvalue()
