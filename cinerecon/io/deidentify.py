"""Who was scanned, told so that two scans of one person can be matched and nothing else be known of them."""

import hashlib


def hashed_person(patient_id: str) -> str:
    """A short hash of a patient's number; empty where the number was blanked, by one letter or a word."""
    is_telling = len(set(patient_id)) > 1 and any(letter.isdigit() for letter in patient_id)
    return "person-" + hashlib.sha256(patient_id.encode()).hexdigest()[:10] if is_telling else ""
