"""One thread per test process: small layers gain nothing from more, and two workers on two cores lose a lot."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
