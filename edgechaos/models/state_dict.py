"""Published checkpoints: the tensors of a state_dict in a `.pt` file that anyone may have made.

The pickle inside is examined, opcode by opcode, before torch may run it: `weights_only=True` keeps it from calling foreign code,
but not from building 20 million lists, a bytearray of any size, or nested tuples whose hash takes for ever.
"""

from __future__ import annotations

import io
import os
import pickletools

import torch
from torch import Tensor

from edgechaos.support.errors import ArtifactError
from edgechaos.support.files import open_zip, read_file

REMEDY = "save it with torch.save(model.state_dict(), path)"
MAX_PICKLE = 1 << 18
"""Bytes: a hundred for each tensor."""
_TUPLES = frozenset(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"))
_PLAIN = frozenset(("EMPTY_TUPLE", "EMPTY_DICT", "BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NEWFALSE", "NEWTRUE", "NONE"))
_PUT, _GET = frozenset(("BINPUT", "LONG_BINPUT")), frozenset(("BINGET", "LONG_BINGET"))
_CALLS = frozenset(("PROTO", "GLOBAL", "MARK", "SETITEM", "SETITEMS", "REDUCE", "BUILD", "BINPERSID", "STOP"))
_OPCODES = _TUPLES | _PLAIN | _PUT | _GET | _CALLS
_GLOBALS = frozenset(
    ["collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"]
    + [f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")]
)


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a published checkpoint, `torch.save` of a state_dict. Raises ArtifactError for anything else."""
    data = read_file(path, "published checkpoint")
    place = os.fspath(path)
    try:
        _examine(data)
        state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises pickle, zip and runtime errors alike: every one means a file to refuse
        why = str(error) if isinstance(error, _Foreign) else type(error).__name__
        raise ArtifactError(f"{place}: not a plain state_dict, or corrupt ({why}); nothing was executed; {REMEDY}", place) from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ArtifactError(f"{place}: not a state_dict of tensors; {REMEDY}", place)
    for name, tensor in state.items():
        if not _is_stored(tensor):
            raise ArtifactError(f"{place}: {name} is no plain tensor: the file does not hold all {tensor.numel():,} values of it", place)
    return dict(state)


class _Foreign(ValueError):
    """What is inside is no state_dict; the message says what was found."""


def _examine(data: bytes) -> None:
    """Raises _Foreign, BadZipFile or ValueError for what `torch.save` of a state_dict does not write."""
    if data[:4] != b"PK\3\4":
        raise _Foreign("no zip archive, which torch.save has written since version 1.6")
    with open_zip(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        # `torch.save` compresses nothing: a file that unpacks to more than it has would take memory that nobody sent.
        if sum(entry.file_size for entry in entries) > len(data):
            raise _Foreign("it unpacks to more bytes than the file has")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                if entry.file_size > MAX_PICKLE:
                    raise _Foreign(f"its pickle has {entry.file_size:,} bytes, more than {MAX_PICKLE:,}")
                _examine_pickle(archive.read(entry))


def _examine_pickle(pickled: bytes) -> None:
    tuples: set[int] = set()
    before = ""
    for opcode, argument, _ in pickletools.genops(pickled):
        name = opcode.name
        if name not in _OPCODES:
            raise _Foreign(f"its pickle holds {name}, which no state_dict needs")
        if name == "GLOBAL" and argument not in _GLOBALS:
            raise _Foreign(f"it holds {str(argument).replace(' ', '.')[:80]}, beyond plain tensors")
        if name in _PUT and before in _TUPLES:
            tuples.add(int(argument or 0))
        if name in _GET and argument in tuples:
            # Tuples of tuples of tuples, each twice: few bytes, and a hash that never ends.
            raise _Foreign("its pickle uses one tuple twice, which no state_dict does")
        before = name


def _is_stored(tensor: Tensor) -> bool:
    """Every value lies in the file: a view with a stride of 0 of one value may claim any size."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
