"""One file per verb; the only floor that touches both files and compute."""
