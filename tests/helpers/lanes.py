"""Other processors, threads and seeds than this machine's, for the tests that train or quantize (marker `trains`).

No verdict of a test may hang on what one trained float network does on one processor. The environment asks for what differs elsewhere:

    EDGECHAOS_TEST_SEED=n      every training seed of the suite moves by 1000 n
    EDGECHAOS_TEST_FLOATS=n    sums of floats end a few units in the last place elsewhere, as on another processor
    EDGECHAOS_TEST_THREADS=n   torch takes n threads, whatever a recipe asks for

`.ci/lanes.sh` runs them. Instruction sets are variables of torch, MKL and OpenBLAS: ATEN_CPU_CAPABILITY, MKL_CBWR, OPENBLAS_CORETYPE.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

SEED, FLOATS, THREADS = "EDGECHAOS_TEST_SEED", "EDGECHAOS_TEST_FLOATS", "EDGECHAOS_TEST_THREADS"
TRAINING = (("edgechaos.train.fit", "", "_epoch"), ("edgechaos.quantize.fake_quant", "FakeQuantModel", "__init__"))
"""What every training and every quantization calls."""
SUMS = ("mm", "addmm", "bmm", "mv", "addmv", "dot", "linear", "convolution", "convolution_backward", "sum", "mean", "native_batch_norm")
STEPS = {"torch.float32": 2.0**-20, "torch.float64": 2.0**-50}
"""The largest relative change: 1e-6 of a float32, 8 units in the last place of either."""


def training_threads() -> int | None:
    """How many threads torch must take; None where recipes say it."""
    return int(os.environ[THREADS]) if os.environ.get(THREADS) else None


@contextmanager
def of_this_lane() -> Iterator[None]:
    """Sums and seeds that the environment asks for."""
    with ExitStack() as stack:
        if os.environ.get(FLOATS):
            stack.enter_context(_other_sums(int(os.environ[FLOATS])))
        if os.environ.get(SEED):
            stack.enter_context(_other_seeds(1000 * int(os.environ[SEED])))
        yield


@contextmanager
def _other_seeds(by: int) -> Iterator[None]:
    import torch

    from edgechaos.train import fit as train

    seeded, epoch = torch.manual_seed, train._epoch

    def moved(*arguments: Any) -> train.Epoch:
        replaced: Any = (replace(a, seed=(a.seed + by) % 2**32) if isinstance(a, train.Recipe) else a for a in arguments)
        return epoch(*replaced)

    with patch.object(torch, "manual_seed", lambda seed: seeded(seed + by)), patch.object(train, "_epoch", moved):
        yield


def _other_sums(lane: int) -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class OtherSums(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Moves every float sum by what its own bits, its shape and the lane say: reproducible, as a processor is.

        A float64 result of whole numbers stays: a sum of integers is exact on every processor.
        """

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket.__name__ in SUMS:
                for tensor in out if isinstance(out, tuple | list) else (out,):
                    if isinstance(tensor, torch.Tensor) and str(tensor.dtype) in STEPS and tensor.numel():
                        move(tensor)
            return out

    def move(tensor: torch.Tensor) -> None:
        if tensor.dtype == torch.float64 and bool((tensor == tensor.round()).all()):
            return
        bits = tensor.contiguous().view(torch.int32 if tensor.dtype == torch.float32 else torch.int64)
        word = (bits ^ (lane * 7919 + tensor.numel())) * 0x2C1B3C6D
        tensor.mul_(1.0 + (((word >> 12) & 0xFF).to(tensor.dtype) / 127.5 - 1.0) * STEPS[str(tensor.dtype)])

    return OtherSums()  # type: ignore[no-untyped-call]


@contextmanager
def refusing_to_train(test: str) -> Iterator[None]:
    """Within, training and quantizing fail: a test that does either needs the marker. Modules that nobody has imported are left alone."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError(f"{test} trains or quantizes: mark it with @pytest.mark.trains, and assert what holds for any training")

    with ExitStack() as stack:
        for name, kind, function in TRAINING:
            module = sys.modules.get(name)
            if module is not None:
                stack.enter_context(patch.object(getattr(module, kind) if kind else module, function, refuse))
        yield
