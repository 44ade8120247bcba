"""Preparation: from any archive of scans to cases for training and evaluation."""
