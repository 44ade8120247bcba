"""Hashes of identifiers: scans of one subject or study can be matched, without storing who was scanned."""

import hashlib
import re

PREFIX, N_DIGITS = "person-", 10
"""Beginning of the hash of a patient's number, and its hexadecimal digits."""
ANONYMOUS = "anonymous-"
"""Beginning of the patient ID of anonymous images; the rest depends on the study, not on the patient."""
SHORTEST_IDENTIFIER = 8
"""Letters below which an identifier of a study is a mere counter."""

_HASHED = re.compile(rf"{PREFIX}[0-9a-f]{{{N_DIGITS}}}")


def hashed_subject(patient_id: str) -> str:
    """A short hash of a patient's number; empty where the number was blanked, by one letter or a word.

    A hash stays as it is: scans simulated from images of a patient are of the same patient as the images.
    """
    if _HASHED.fullmatch(patient_id):
        return patient_id
    is_known = len(set(patient_id)) > 1 and any(letter.isdigit() for letter in patient_id)
    is_known = is_known and not patient_id.startswith(ANONYMOUS)
    return hashed_name(patient_id) if is_known else ""


def hashed_name(name: str) -> str:
    """A short hash of a name that is known to be that of a subject; a hash stays as it is."""
    return name if _HASHED.fullmatch(name) else PREFIX + hashlib.sha256(name.encode()).hexdigest()[:N_DIGITS]


def hashed_identifier(identifier: str) -> str:
    """SHA-256 of an identifier that is unique worldwide, e.g. of a study; empty for counters and blanked ones."""
    is_unique = len(identifier) >= SHORTEST_IDENTIFIER and len(set(identifier) - set("0._-")) > 1
    return hashlib.sha256(identifier.encode()).hexdigest() if is_unique else ""
