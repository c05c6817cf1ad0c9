"""Models: `training` fits and calibrates them, `inference` loads and scores them, `policy.py` turns scores into decisions.

Start with `inference/scorer.py`.
"""

import os

# scikit-learn's threads spin while they wait for each other, which makes a fit on shared cores eight times slower than one
# thread. The policy must be set before the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
