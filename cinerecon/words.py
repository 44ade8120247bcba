"""Numbers in the texts that users read."""

from collections.abc import Sequence


def plural(noun: str, number: float) -> str:
    """The noun, with an s unless the number is 1."""
    return noun if number == 1 else f"{noun}s"


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 slice``, ``2 slices``."""
    return f"{number} {plural(noun, number)}"


def printable(text: str) -> str:
    """The text with a space for each control character, which XML and DICOM do not allow."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def name_frames(numbers: Sequence[int]) -> str:
    """Frame numbers as text, consecutive ones as a range: ``frames 0, 8 to 11``."""
    return name_numbers("frame", numbers)


def name_numbers(noun: str, numbers: Sequence[int]) -> str:
    """The noun and its numbers, as `name_frames`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return f"{plural(noun, len(numbers))} " + ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )
