import pytest

from demur.engines.hf import HFEngine
from demur.evaluation.calibration import LENGTH, SHIPPED, calibration, calibration_talks, to_calibrate


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_the_bundled_model_comes_calibrated(dtype):
    engine = HFEngine("smollm2-refuser", dtype)
    assert to_calibrate(engine, LENGTH) == 0, "run python -m recipes.calibrations and commit what it writes"
    band = calibration(engine, 24).band(24)
    assert band.n > 0.7 * len(calibration_talks())
    assert 1 < band.low < 1.2 and 3 < band.high < 20


def test_nothing_lies_there_that_no_model_uses():
    assert len(list(SHIPPED.glob("*"))) == 2
