"""Fit, calibrate, set a threshold, explain.

scikit-learn's threads spin while they wait for each other; where other work shares the cores that
made a fit eight times slower than one thread. It is settled before its library is loaded.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
