import math

import numpy as np

from cadenza_remix.units import db_spl_of_full_scale, db_to_lin, energy_ratio_db, lin_to_db, rms


def test_known_values():
    assert db_to_lin(20.0) == 10.0
    assert lin_to_db(0.1) == -20.0
    assert lin_to_db(0.0) == -math.inf
    assert energy_ratio_db(100.0, 1.0) == 20.0
    assert energy_ratio_db(1.0, 0.0) == math.inf
    assert math.isnan(energy_ratio_db(0.0, 0.0))


def test_rms_of_a_sine_is_its_peak_over_root_two():
    sine = np.sin(2 * np.pi * np.arange(1000) / 100)
    assert math.isclose(rms(sine), 1 / math.sqrt(2), rel_tol=1e-12)
    assert rms([]) == 0.0


def test_level_of_full_scale():
    # A signal of RMS 0.1 presented at 65 dB SPL: full scale lies 20 dB higher.
    assert math.isclose(db_spl_of_full_scale(0.1), 85.0, rel_tol=1e-12)
    assert db_spl_of_full_scale(0.0) == math.inf
