import base64
import copy
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from cinerecon.cli import app
from cinerecon.commands.openrecon_label import LABEL_KEY, make_label, release
from cinerecon.commands.openrecon_options import LabelOptions
from cinerecon.errors import ConfigError, FileError
from cinerecon.methods.table import METHODS
from cinerecon.reconstruction.stream.protocol import read_protocol

SCHEMA = json.loads((Path(__file__).parents[2] / "examples/openrecon/label-1.1.0.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def call(*arguments):
    return CliRunner().invoke(app, ["openrecon", *map(str, arguments)])


def save_image(path, labels=None, user="cinerecon", oci=False):
    """An image without layers, as ``docker save`` of versions before and after 25 writes it."""
    config = json.dumps({"architecture": "amd64", "config": {"Labels": labels, "User": user}}).encode()
    digest = hashlib.sha256(config).hexdigest()
    blob = f"blobs/sha256/{digest}" if oci else f"{digest}.json"
    files = {blob: config, "manifest.json": json.dumps([{"Config": blob, "RepoTags": ["a:b"], "Layers": []}]).encode()}
    if oci == "alone":
        manifest = json.dumps({"config": {"digest": f"sha256:{digest}"}, "layers": []}).encode()
        name = hashlib.sha256(manifest).hexdigest()
        index = json.dumps({"manifests": [{"digest": f"sha256:{name}"}]}).encode()
        files = {blob: config, f"blobs/sha256/{name}": manifest, "index.json": index}
    if oci:
        files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    with tarfile.open(path, "w") as archive:
        for file, content in files.items():
            member = tarfile.TarInfo(file)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return f"sha256:{digest}"


def write_label(folder, *options):
    path = folder / "label.json"
    assert call("label", "-o", path, "--date", "2026/01/31", *options).exit_code == 0
    return path


def labels_of(path):
    return {LABEL_KEY: base64.b64encode(path.read_bytes()).decode()}


@pytest.mark.parametrize(
    "options",
    [{}, {"gpu": True, "injector": "compleximage"}, {"models": tuple(METHODS), "id": "Cine2", "made_in": "Berlin"}],
)
def test_labels_follow_the_schema(options):
    label = make_label(LabelOptions(**options))
    VALIDATOR.validate(label)
    identifiers = [parameter["id"] for parameter in label["parameters"]]
    assert len(set(identifiers)) == len(identifiers)
    for parameter in label["parameters"]:
        if parameter["type"] == "choice":
            assert parameter["default"] in [value["id"] for value in parameter["values"]]


def test_what_the_user_interface_offers_is_read_by_the_server():
    label = make_label(LabelOptions(models=tuple(METHODS)))
    defaults = {parameter["id"]: parameter["default"] for parameter in label["parameters"]}
    found = read_protocol(json.dumps({"parameters": defaults}))
    assert (found.model, found.options) == (next(iter(METHODS)), {})
    for parameter in label["parameters"]:
        for value in parameter.get("values", []):
            read_protocol(json.dumps({"parameters": {parameter["id"]: value["id"]}}))


def change(label, path, value):
    """A copy with a value changed, or removed if it is None."""
    changed = copy.deepcopy(label)
    *parents, last = path
    inner = changed
    for key in parents:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("general", "id"), None),
        (("general", "version"), "1.0"),
        (("general", "regulatory_information", "udi"), None),
        (("general", "color"), "red"),
        (("reconstruction", "emitter"), "images"),
        (("reconstruction", "emitter"), "none"),
        (("reconstruction", "port"), "9002"),
        (("reconstruction", "min_count_required_cpu_cores"), 0),
        (("reconstruction", "transfer_protocol", "version"), "1.5.0"),
        (("parameters", 0, "id"), "my_config"),
        (("parameters", 0, "values"), []),
        (("parameters", 1, "type"), "text"),
        (("parameters", 4, "default"), "false"),
        (("parameters",), [{"id": "r", "type": "int", "label": {"en": "R"}, "default": 4}]),
        (
            ("parameters",),
            [{"id": "r", "type": "double", "label": {"en": "R"}, "default": 0.25, "minimum": 0, "maximum": 1}],
        ),
        (("parameters",), [{"id": f"p{n}", "type": "string", "label": {"en": "P"}} for n in range(15)]),
    ],
)
def test_the_schema_refuses_wrong_labels(path, value):
    assert not VALIDATOR.is_valid(change(make_label(LabelOptions()), path, value))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ("ktsrl",)}, "unknown method 'ktsrl'"),
        ({"models": ()}, "requires a method"),
        ({"id": "my cine"}, "letters and digits"),
        ({"vendor": ""}, "letters and digits"),
        ({"injector": "raw"}, "unknown injector"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        make_label(LabelOptions(**options))


def test_a_package_for_va60(tmp_path):
    label = write_label(tmp_path, "--vendor", "Clinic", "-m", "ktslr")
    digest = save_image(tmp_path / "image.tar", labels_of(label))
    result = call("package", tmp_path / "image.tar", "--label", label, "-o", tmp_path)
    assert f"image    {digest}" in result.stdout
    assert "user     cinerecon" in result.stdout
    name = f"OpenRecon_Clinic_cinerecon_V{release()}"
    with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
        assert sorted(archive.namelist()) == [f"{name}.pdf", f"{name}.tar"]
        assert archive.read(f"{name}.tar") == (tmp_path / "image.tar").read_bytes()
        assert archive.read(f"{name}.pdf").startswith(b"%PDF-")
    assert isinstance(call("package", tmp_path / "image.tar", "--label", label, "-o", tmp_path).exception, FileError)


@pytest.mark.parametrize("oci", [False, True, "alone"])
def test_a_package_for_va70(tmp_path, oci):
    label = write_label(tmp_path)
    (tmp_path / "guide.pdf").write_bytes(b"%PDF-1.7 guide")
    digest = save_image(tmp_path / "image.tar", user="", oci=oci)
    options = ["--software", "va70", "--label", label, "--manual", tmp_path / "guide.pdf", "-o", tmp_path]
    assert "user     root" in call("package", tmp_path / "image.tar", *options).stdout
    (path,) = tmp_path.glob("*.OpenReconPackage.zip")
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["ApplSpec.json", "Container.tar", "Manual.pdf", "Properties.json"]
        assert json.loads(archive.read("ApplSpec.json")) == json.loads(label.read_text())
        assert archive.read("Manual.pdf") == b"%PDF-1.7 guide"
        properties = json.loads(archive.read("Properties.json"))
    assert properties["image_digest"] == digest
    assert (properties["package_format"], properties["image_name"]) == ("Alpaca", "local/cinerecon:latest")


def test_image_and_label_must_belong_together(tmp_path):
    label, image = write_label(tmp_path), tmp_path / "image.tar"
    other = write_label((tmp_path / "other").mkdir() or tmp_path / "other", "--gpu")

    def error(*options):
        found = call("package", image, "--label", label, "-o", tmp_path, *options).exception
        assert isinstance(found, FileError)
        assert not list(tmp_path.glob("*.zip"))
        return str(found)

    assert "cannot read the image" in error()
    image.write_bytes(b"no archive")
    assert "not a container image" in error()
    save_image(image)
    assert "has no OpenRecon label" in error()
    save_image(image, labels_of(other))
    assert "differs from label.json" in error()
    save_image(image, {LABEL_KEY: "%"})
    assert "differs from label.json" in error()
    save_image(image, labels_of(label), oci=True)
    assert "does not import the OCI layout" in error()
    save_image(image, labels_of(label))
    assert "the image has a label" in error("--software", "va70")
    assert "not a PDF file" in error("--manual", label)
    assert isinstance(call("package", image, "--software", "xa60").exception, ConfigError)
    label.write_text("{}")
    assert "not an OpenRecon label" in error()
