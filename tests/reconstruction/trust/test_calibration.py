"""Verdicts by numbers fitted to made-up features of known law: coverage of intervals, threshold, status, reasons."""

import math
from dataclasses import replace

import numpy as np
import pytest
from trust_fit import Example, fit, is_failed

from cinerecon.reconstruction.trust.calibration import CAUSES, FILE_NAME, UNCLEAR, calibration_of
from cinerecon.reconstruction.trust.features import CHECKS, FEATURES
from cinerecon.verdict import worst_status


def draw(rng, n, *, failed_share=0.3):
    """Scans whose PSNR falls with acceleration, and whose failures raise the mismatch and lower the PSNR."""
    examples = []
    for number in range(n):
        twin = {name: float(rng.normal()) for name in FEATURES}
        twin |= {"acceleration": rng.uniform(1, 3), "coils": 0.0, "points": 0.0, "never_sampled": rng.uniform(0, 0.5)}
        twin |= {"noise": rng.uniform(-45, -30), "map_misfit": math.nan}
        features, psnr = dict(twin), 40 - 3 * twin["acceleration"] + rng.normal()
        is_failure = rng.random() < failed_share
        if is_failure:
            strength = rng.uniform(6, 14)
            features["mismatch"] += strength
            psnr -= 1.2 * strength
        heart = 10 ** ((10 - psnr + rng.normal()) / 20)
        examples.append(Example(features, twin, "phase" if is_failure else "intact", psnr, heart, f"subject {number}"))
    return examples


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(0)
    return fit(draw(rng, 1200))


def test_intervals_cover_nine_of_ten(calibration):
    examples = draw(np.random.default_rng(1), 1000)
    verdicts = [calibration.judge(example.features) for example in examples]
    pairs = list(zip(verdicts, examples, strict=True))
    assert np.mean([v.psnr_low <= e.psnr <= v.psnr_high for v, e in pairs]) == pytest.approx(0.9, abs=0.03)
    covered = [v.heart_error_low <= e.heart_error <= v.heart_error_high for v, e in pairs]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)
    widths = [v.psnr_high - v.psnr_low for v, e in pairs if e.is_intact]
    assert np.median(widths) < 6, "noise of 1 dB, so 3.3 dB at best"


def test_less_noise_than_in_the_fit_does_not_lower_the_expected_psnr():
    """Also if the fit contains images of damaged networks, relative to which the noise is tiny."""
    examples = draw(np.random.default_rng(0), 600)
    for example in examples[::40]:
        damaged = example.twin | {"noise": -130.0, "mismatch": 12.0}
        examples.append(replace(example, features=damaged, kind="network", psnr=5.0, heart_error=2.0))
    calibration = fit(examples)
    typical = dict.fromkeys(FEATURES, 0.0) | {"acceleration": 2.0, "never_sampled": 0.25, "map_misfit": math.nan}
    lowest, quiet = (calibration.judge(typical | {"noise": noise}) for noise in (-45.0, -63.0))
    assert quiet.status == "as expected"
    assert quiet.psnr == pytest.approx(lowest.psnr, abs=0.1)
    assert quiet.psnr_high - quiet.psnr_low > lowest.psnr_high - lowest.psnr_low


def test_intervals_are_wider_the_further_a_scan_is_from_the_fit(calibration):
    typical = dict.fromkeys(FEATURES, 0.0) | {"acceleration": 2.0, "noise": -38.0, "never_sampled": 0.25}
    factors = [calibration.widening(typical | {"acceleration": value}) for value in (2.0, 3.0, 4.0, 4.5, 9.0)]
    assert factors[0] == pytest.approx(1, abs=0.1)
    assert factors[:4] == sorted(factors[:4])
    assert factors[3] > factors[1] + 0.02
    assert calibration.widening(typical | {"acceleration": 100.0}) == factors[4], "limited"
    near, far = (calibration.judge(typical | {"lines": value}) for value in (0.0, 20.0))
    assert far.heart_error_high / far.heart_error_low > near.heart_error_high / near.heart_error_low


def test_failures_are_detected_and_intact_scans_pass(calibration):
    examples = draw(np.random.default_rng(2), 500)
    failed = [example for example in examples if is_failed(calibration, example)]
    intact = [example for example in examples if example.is_intact]
    assert np.mean([calibration.judge(e.features).status == "do not use" for e in failed]) > 0.9
    assert np.mean([calibration.judge(e.features).status != "as expected" for e in intact]) < 0.03
    worst = max(failed, key=lambda example: example.features["mismatch"])
    assert calibration.judge(worst.features).reasons == (CAUSES["phase"], FEATURES["mismatch"])


def test_kinds_of_failures_are_named():
    rng = np.random.default_rng(6)
    signs = {"phase": "phase_mismatch", "breathing": "line_displacement", "wrap-around": "wrap_around"}

    def failure(example, kind):
        raised = example.features | {signs[kind]: example.features[signs[kind]] + 8}
        return replace(example, features=raised, kind=kind, psnr=example.psnr - 10)

    intact = draw(rng, 300, failed_share=0)
    kinds = [list(signs)[n % 3] for n in range(90)]
    failures = [failure(example, kind) for example, kind in zip(intact, kinds, strict=False)]
    calibration = fit([*intact, *failures])
    others = draw(rng, 30, failed_share=0)
    for example, kind in zip(others, kinds, strict=False):
        verdict = calibration.judge(failure(example, kind).features)
        assert verdict.status != "as expected"
        assert verdict.reasons[0] == CAUSES[kind]


def test_one_coil_has_no_wrong_maps():
    rng = np.random.default_rng(8)
    intact = [replace(e, features=e.features | {"coils": 3.0}, twin=e.twin) for e in draw(rng, 200, failed_share=0)]
    failures = [
        replace(e, features=e.features | {"disagreement": 9.0}, kind="coil maps", psnr=e.psnr - 10) for e in intact[:40]
    ]
    calibration = fit([*intact, *failures])
    several = failures[0].features
    assert calibration.judge(several).reasons[0] == CAUSES["coil maps"]
    assert calibration.judge(several | {"coils": 0.0}).reasons[0] == FEATURES["disagreement"]


@pytest.mark.parametrize(("feature", "value"), [("wrap_around", 6.0), ("noise", -20.0), ("acceleration", 6.0)])
def test_one_certain_sign_is_enough(calibration, feature, value):
    example = draw(np.random.default_rng(7), 1, failed_share=0)[0]
    features = dict.fromkeys(example.features, 0.0) | {"acceleration": 2.0, "noise": -38.0}
    assert calibration.judge(features).status == "as expected"
    failed = calibration.judge(features | {feature: value})
    assert failed.status == "doubtful"
    assert FEATURES[feature] in failed.reasons


@pytest.mark.parametrize("name", CHECKS)
def test_one_exceeded_check_is_enough(calibration, name):
    checked = calibration.model_copy(update={"check_limits": {name: (3.0, 1.0)}})
    features = dict.fromkeys(FEATURES, 0.0) | {"acceleration": 2.0, "noise": -38.0}
    assert checked.judge(features | {name: 2.9}) == checked.judge(features | {name: math.nan})
    passed, failed = (checked.judge(features | {name: value}) for value in (2.9, 5.0))
    assert (passed.status, failed.status) == ("as expected", "doubtful")
    assert failed.reasons[0] == CHECKS[name]
    assert failed.risk == pytest.approx(1 / (1 + math.exp(-checked.threshold))), "or that of the models if it is higher"
    assert failed.risk > passed.risk


@pytest.mark.parametrize(("excess", "is_first"), [(0.1, False), (30.0, True)])
def test_a_coil_that_is_silent_because_of_noise_is_not_the_first_reason(calibration, excess, is_first):
    checked = calibration.model_copy(update={"check_limits": {"silent_coil": (-9.0, 1.0)}})
    features = dict.fromkeys(FEATURES, 0.0) | {"acceleration": 2.0, "noise": -20.0, "silent_coil": -9.0 + excess}
    reasons = checked.judge(features).reasons
    assert (reasons[0] == CHECKS["silent_coil"]) == is_first
    assert is_first or FEATURES["noise"] in reasons


def test_the_usual_error_does_not_follow_a_failure(calibration):
    (example,) = draw(np.random.default_rng(3), 1, failed_share=1)
    assert calibration.usual(example.features) == pytest.approx(calibration.usual(example.twin))
    assert calibration.usual(example.twin) == pytest.approx(40 - 3 * example.twin["acceleration"], abs=1)


def test_no_feature_beyond_its_range_gives_no_particular_reason(calibration):
    ordinary = dict.fromkeys(FEATURES, 0.0) | {"acceleration": 2.0, "noise": -38.0}
    assert calibration.reasons(ordinary) == (UNCLEAR,)
    assert calibration.judge(ordinary).reasons == ()


@pytest.mark.parametrize("method", ["ktslr", "slrnet"])
def test_shipped_numbers_are_those_of_these_features(method):
    calibration = calibration_of(method)
    assert calibration is not None, FILE_NAME
    assert calibration.names == tuple(FEATURES), "run benchmarks/trust.py fit"
    assert set(calibration.check_limits) == set(CHECKS), "run benchmarks/trust.py checks"


def test_worst_status(calibration):
    example = next(e for e in draw(np.random.default_rng(5), 50, failed_share=1) if e.features["mismatch"] > 10)
    good, bad = calibration.judge(example.twin), calibration.judge(example.features)
    assert worst_status([good, None, bad, good]) == "do not use"
    assert worst_status([None]) == ""
