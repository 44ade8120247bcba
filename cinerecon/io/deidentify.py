"""Hashes of identifiers: scans of one subject or study can be matched, without storing who was scanned."""

import hashlib


def hashed_person(patient_id: str) -> str:
    """A short hash of a patient's number; empty where the number was blanked, by one letter or a word."""
    is_telling = len(set(patient_id)) > 1 and any(letter.isdigit() for letter in patient_id)
    return "person-" + hashlib.sha256(patient_id.encode()).hexdigest()[:10] if is_telling else ""


def hashed_identifier(identifier: str) -> str:
    """SHA-256 of an identifier, e.g. of a study; empty if there is none."""
    return hashlib.sha256(identifier.encode()).hexdigest() if identifier else ""
