"""Preparation of archives of scans as cases for training and evaluation."""
