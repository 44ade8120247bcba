"""Plain English of the field in docstrings, comments, messages and pages; see "Prose" in CONTRIBUTING.md."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLEAN = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "Containerfile",
    "Makefile",
    "mkdocs.yml",
    "pyproject.toml",
    ".pre-commit-config.yaml",
    ".ci",
    ".github",
    "cinerecon",
    "tests",
    "docs",
    "examples",
    "benchmarks",
    "models",
    "sample_data",
)
"""Files, and folders of which the files of `KINDS` are read."""
KINDS = {"*.py", "*.md", "*.yaml", "*.yml", "*.toml", "*.sh", "*.ini", "Containerfile", "Makefile", "run"}
BANNED = {
    r"(?i)\b(tell|tells|telling|told)\b": "report, show, say",
    r"(?i)\bwhatever\b": "any",
    r"(?i)\banew\b": "again",
    r"(?i)\bnobody\b": "no one",
    r"(?i)\bbesides?\b": "next to, in addition to",
    r"(?i)\bdoubts?\b": "warnings",
    r"(?i)\blies?\b": "is",
    r"(?i)\bstands?\b(?! for|[- ]in\b)": "is",
    r"(?i)\bof what\b": "the noun",
    r"(?i)\b(house|door|road)\b": "the technical term",
    r"(?i)\b(?<!noise )floor\b": "the technical term",
    r"(?i)\bfor ever\b": "permanently",
    r"(?i)\bnothing is there\b": "missing",
    r"(?i)\bpersons?\b": "subject, patient",
    r"\bOf [a-z]": "a whole sentence",
    r"\bThat of\b": "a whole sentence",
    r"\bWhere to\b": "a whole sentence",
}
"""Pattern, and what to write instead."""
NAMES_OF_LIBRARIES = {"tell", "floor"}
QUOTED = re.compile(r"``.*?``|`[^`\n]*`", re.DOTALL)
STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def files(entry):
    """The files of an entry, except this one, which contains the words."""
    path = ROOT / entry
    paths = {file for kind in KINDS for file in path.rglob(kind)} if path.is_dir() else {path}
    return sorted(file for file in paths if file.is_file() and file != Path(__file__))


def prose_of(path):
    """Comments, strings and (once each) names in a Python file with their first lines, or the lines of another file.

    Text in backticks is left out, and so are the blocks of code of a page. A string without a space is a name or a key.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
        return [(number, QUOTED.sub("", line)) for number, line in enumerate(text.splitlines(), 1)]
    prose, names = [], NAMES_OF_LIBRARIES.copy()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string not in names:
            names.add(token.string)
            prose.append((token.start[0], token.string.replace("_", " ")))
        elif token.type == tokenize.COMMENT or (token.type in STRINGS and " " in token.string):
            prose.append((token.start[0], QUOTED.sub("", token.string)))
    return prose


def banned_words(path):
    """Each banned word with its line and the alternative."""
    return [
        f"{path.relative_to(ROOT)}:{line + text[: match.start()].count(chr(10))}: '{match[0]}', rather: {alternative}"
        for line, text in prose_of(path)
        for pattern, alternative in BANNED.items()
        for match in re.finditer(pattern, text)
    ]


@pytest.mark.parametrize("entry", CLEAN)
def test_no_banned_words(entry):
    paths = files(entry)
    assert paths
    lines = [line for path in paths for line in banned_words(path)]
    assert not lines, "\n" + "\n".join(lines)


def test_a_banned_word_is_found(tmp_path, monkeypatch):
    page = tmp_path / "page.py"
    page.write_text(
        '"""Show the `road`.\n\nIt tells how.\n"""\n\nkey = "person"  # the noise floor\ndef by_the_door(): ...\n',
        encoding="utf-8",
    )
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert banned_words(page) == [
        "page.py:3: 'tells', rather: report, show, say",
        "page.py:7: 'door', rather: the technical term",
    ]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("network: slrnet\n# whatever the `road`\n", encoding="utf-8")
    assert banned_words(recipe) == ["recipe.yaml:2: 'whatever', rather: any"]


def test_settings_in_messages_can_be_copied_to_the_command_line():
    """As ``--set preprocessing.repeats=average``, not ``repeats=average``, also where a message names several."""
    from cinerecon.acquisition.config import AcquisitionConfig

    short = re.compile(rf"(?<![\w.])({'|'.join(AcquisitionConfig.model_fields)})(\.\w+)?=")
    lines = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path in files("cinerecon/acquisition")
        for line, text in prose_of(path)
        if " " in text
        for match in short.finditer(text)
    ]
    assert not lines, "\n" + "\n".join(lines)


if __name__ == "__main__":  # python tests/test_language.py [FILE OR FOLDER ...]: the words that remain
    import sys

    for entry in sys.argv[1:] or CLEAN:
        print(*(line for path in files(entry) for line in banned_words(path)), sep="\n")
