"""CineData to image: classical and deep behind one door."""
