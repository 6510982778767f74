"""What an install without torch must do, on any Python: `smoke.py ARTIFACT DEVICE...` from a folder that is not the checkout.

Every module that needs no absent extra is imported, the artifact runs on each device, clean and under faults, and the
logits must be those of the reference and of every other Python: their CRC-32 stands below.
"""

import importlib
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import edgechaos
from edgechaos import reference
from edgechaos.devices.registry import open_device
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.omission import Omission
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph import artifact
from edgechaos.support.errors import MissingExtra

EXTRAS = {
    "pytest",  # of the conformance suite and the plug-in
    *("torch", "brevitas", "sklearn", "mlxtend", "pooch", "PIL", "onnx", "onnxruntime", "tvm", "ziglang", "elftools", "unicorn"),
    *("capstone", "matplotlib", "distributed", "dask", "yaml", "pyarrow"),
}
CRC = 0x848C3A8B
PLAN = FaultPlan((Omission(rate=0.3), DeadNeurons(rate=0.2, seed=4), WeightBitFlip(rate=0.001, seed=2)))


def import_everything() -> int:
    """How many modules of the package were imported; raises where one fails for another reason than an absent extra."""
    count = 0
    root = Path(edgechaos.__file__).parent
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        try:
            importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
            count += 1
        except MissingExtra:
            continue
        except ImportError as error:
            if (error.name or "").partition(".")[0] not in EXTRAS:
                raise
    return count


def main(path: str, *devices: str) -> None:
    """Raises AssertionError where a device gives other integers than the reference, or the reference than those recorded."""
    graph = artifact.load(path)
    shape = graph.tensors[graph.head(None).input].shape
    codes = np.random.Generator(np.random.PCG64(1)).integers(0, 128, (20, *shape)).astype(np.int8)
    expected = [reference.run(apply(graph, plan), codes, seed=7) for plan in (FaultPlan(), PLAN)]
    crc = zlib.crc32(b"".join(np.ascontiguousarray(result.logits, "<i4").tobytes() for result in expected))
    assert crc == CRC, f"the reference's logits have CRC {crc:#010x}, not {CRC:#010x}: this Python or NumPy computes other integers"
    for spec in devices:
        with open_device(spec, graph) as device:
            for plan, result in zip((FaultPlan(), PLAN), expected, strict=True):
                device.inject(resolve(graph, plan))
                logits = device.infer(codes, seed=7).logits
                assert (logits == result.logits).all(), f"device {spec}: {(logits != result.logits).sum()} of {logits.size} logits differ"
        print(f"    {spec}: {2 * expected[0].logits.size} logits, 0 differ from the reference")
    print(f"    {import_everything()} modules imported")
    assert find_spec("torch") is None, "torch is installed here: this run proves nothing about installs without it"


if __name__ == "__main__":
    main(*sys.argv[1:])
