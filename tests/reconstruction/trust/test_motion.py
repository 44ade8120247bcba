"""Displacements of lines are measured in pixels, and time courses that contradict each other are recognised."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cinerecon.cine import CineData
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.sampling import parse_mask
from cinerecon.reconstruction.trust.artefacts import displacement_values, time_course_values
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

NOISE = 1e-4


@pytest.fixture(scope="module")
def image():
    (full,) = simulate_cine(SimulateConfig(seed=4, n_frames=12, ky=64, kx=64, n_coils=1, noise=0))
    return full.reference


def sampled(kspace, text="gaussian:4,acs=6"):
    mask = torch.from_numpy(parse_mask(text).draw(12, 64, 64, 0))
    return CineData(kspace * mask, mask)


@pytest.mark.parametrize(("dy", "dx"), [(0.0, 1.0), (1.0, 0.0), (0.6, -0.8)])
def test_displacement_of_lines_in_pixels(image, dy, dx):
    still = fft2c(image[:1].expand_as(image).unsqueeze(1))
    y, x = (torch.arange(64) - 32 for _ in range(2))
    sign = torch.where(torch.arange(12) % 2 == 1, 1.0, -1.0)[:, None, None, None]
    moved = still * torch.exp(-2j * torch.pi * sign * (dy * y[:, None] + dx * x) / 64)
    quiet = displacement_values(sampled(still))["line_displacement"]
    measured = displacement_values(sampled(moved))["line_displacement"]
    assert quiet == pytest.approx(20 * math.log10(0.05)), "the least one"
    assert 10 ** (measured / 20) == pytest.approx(1, abs=0.25), "each frame is one pixel from the mean of both"


def test_a_beating_heart_is_no_displacement_of_lines(image):
    data = sampled(fft2c(image.unsqueeze(1)))
    assert displacement_values(data)["line_displacement"] < -6
    real_time = replace(data, meta=replace(data.meta, is_one_beat=False, is_real_time=True))
    assert math.isnan(displacement_values(real_time)["line_displacement"])


@pytest.mark.parametrize("phase", [0.2 * torch.arange(12), torch.linspace(0, 40, 12) ** 2], ids=["drift", "random"])
def test_a_phase_of_each_frame_is_no_displacement(image, phase):
    kspace = fft2c(image.unsqueeze(1))
    shifted = kspace * torch.polar(torch.ones(12), phase)[:, None, None, None]
    still, turned = (displacement_values(sampled(part))["line_displacement"] for part in (kspace, shifted))
    assert turned == pytest.approx(still, abs=0.01)


@pytest.mark.parametrize("pattern", ["gaussian:4,acs=6", "radial:12"])
def test_lines_of_beats_that_differ_have_other_time_courses(image, pattern):
    kspace = fft2c(image.unsqueeze(1))
    later = kspace.roll(4, 0)
    irregular = torch.where((torch.arange(64) % 2 == 1)[:, None], later, kspace)
    regular, contradicting = (time_course_values(sampled(part, pattern), NOISE) for part in (kspace, irregular))
    assert regular["time_course_mismatch"] < 0.3
    assert contradicting["time_course_mismatch"] > 0.45


def test_time_courses_are_those_of_the_principal_components(image):
    data = sampled(fft2c(image.unsqueeze(1)), "gaussian:4,acs=2")
    first, second = (data.kspace[:, 0, row].numpy() for row in (31, 32))
    spaces = [np.linalg.svd(line - line.mean(0))[0][:, :2] for line in (first, second)]
    correlations = np.linalg.svd(spaces[0].conj().T @ spaces[1])[1]
    measured = time_course_values(data, 0.0)["time_course_mismatch"]
    assert measured == pytest.approx(1 - np.square(correlations).mean(), abs=1e-4)


def test_time_courses_need_lines_of_all_frames_above_the_noise(image):
    kspace = fft2c(image.unsqueeze(1))
    assert math.isnan(time_course_values(sampled(kspace, "vista:6"), NOISE)["time_course_mismatch"])
    assert math.isnan(time_course_values(sampled(kspace), 10.0)["time_course_mismatch"])
