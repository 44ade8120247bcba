"""Hashes of identifiers: scans of one subject or study can be matched, without storing who was scanned."""

import hashlib

ANONYMOUS = "anonymous-"
"""Beginning of the patient ID of anonymous images; the rest depends on the study, not on the patient."""
SHORTEST_IDENTIFIER = 8
"""Letters below which an identifier of a study is a mere counter."""


def hashed_person(patient_id: str) -> str:
    """A short hash of a patient's number; empty where the number was blanked, by one letter or a word."""
    is_known = len(set(patient_id)) > 1 and any(letter.isdigit() for letter in patient_id)
    is_known = is_known and not patient_id.startswith(ANONYMOUS)
    return "person-" + hashlib.sha256(patient_id.encode()).hexdigest()[:10] if is_known else ""


def hashed_identifier(identifier: str) -> str:
    """SHA-256 of an identifier that is unique worldwide, e.g. of a study; empty for counters and blanked ones."""
    is_unique = len(identifier) >= SHORTEST_IDENTIFIER and len(set(identifier) - set("0._-")) > 1
    return hashlib.sha256(identifier.encode()).hexdigest() if is_unique else ""
