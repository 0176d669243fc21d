"""Fixture container: named tensors with a role and a tolerance, written as one safetensors file.

The safetensors layout is 8 bytes little-endian header length, a JSON header, then the raw little-endian
row-major data. Tensors are ordered by element size, so every tensor starts aligned to its own type.
"""

import hashlib
import json

import numpy as np
import torch

DTYPES = {
    np.dtype("float64"): "F64",
    np.dtype("float32"): "F32",
    np.dtype("int64"): "I64",
    np.dtype("int32"): "I32",
    np.dtype("uint32"): "U32",
    np.dtype("uint8"): "U8",
}

REGISTRY = []  # made with sheeprl
OFFICIAL = []  # made with the official code


def fixture(code, name, about, registry=REGISTRY):
    """Registers a maker: it receives (reference, Fixture) and fills the fixture."""

    def decorate(make):
        registry.append((code, name, about, make))
        return make

    return decorate


def to_array(value, wide=False):
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.array(
        value, order="C", copy=True
    )  # np.ascontiguousarray would turn a scalar into [1]
    if array.dtype == np.float64 and not wide:
        raise TypeError("float64 tensors must be asked for explicitly")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.dtype == np.int64:
        array = array.astype(np.int32)
    return array


class Fixture:
    """Tensors of one fixture. Roles:

    input   feed it to the code under test
    output  compare with what the code under test computes, within abs/rel or l2
    info    for a person who looks for a mistake; never compared
    """

    def __init__(self, code, name, about, narrow=False):
        """narrow: float64 values are rounded to float32 (for the same computation made in float64)."""
        self.narrow = narrow
        self.code, self.name, self.about = code, name, about
        self.tensors = {}

    @property
    def file(self):
        return f"{self.code.lower()}_{self.name}.safetensors"

    def put(self, role, name, value, doc, wide=False, **tolerance):
        if name in self.tensors:
            raise ValueError(f"{self.code}: tensor {name} given twice")
        if self.narrow and hasattr(value, "dtype") and value.dtype == torch.float64:
            value = value.float()
        self.tensors[name] = {
            "array": to_array(value, wide),
            "role": role,
            "doc": doc,
            "tolerance": tolerance,
        }

    def given(self, name, value, doc=""):
        self.put("input", name, value, doc)

    def exact(self, name, value, doc=""):
        self.put("output", name, value, doc, abs=0.0, rel=0.0)

    def close(self, name, value, doc="", abs=1e-6, rel=1e-5):
        self.put("output", name, value, doc, abs=abs, rel=rel)

    def grad(self, name, value, doc="", l2=1e-4):
        self.put("output", name, value, doc, l2=l2)

    def info(self, name, value, doc=""):
        self.put("info", name, value, doc)

    def params(self, module, prefix="param.", names="", doc=""):
        for key, value in module.named_parameters():
            self.given(prefix + names + key, value, doc)

    def param_grads(self, module, prefix="grad.", names="", doc="", l2=1e-4):
        for key, value in module.named_parameters():
            if value.grad is None:
                raise ValueError(f"{self.code}: {key} got no gradient")
            self.grad(prefix + names + key, value.grad, doc, l2=l2)

    def departures(self, other, share):
        """Outputs that differ from other's by more than that share of their tolerance, with how much they use."""
        found = []
        for name, tensor in self.tensors.items():
            rule, x, ref = tensor["tolerance"], other.tensors[name]["array"], tensor["array"]
            if tensor["role"] != "output":
                continue
            x, ref = x.astype(np.float64), ref.astype(np.float64)
            difference = np.abs(x - ref)
            if "l2" in rule:
                norm = np.sqrt((ref**2).sum())
                used = np.sqrt((difference**2).sum()) / (
                    rule["l2"] * norm + 1e-7 * ref.size**0.5
                )
            elif rule["abs"] == 0 and rule["rel"] == 0:
                used = 0.0 if (difference == 0).all() else np.inf
            else:
                allowed = rule["abs"] + rule["rel"] * np.abs(ref)
                used = (difference / np.maximum(allowed, 1e-300)).max(initial=0)
            if not used <= share:
                found.append((name, float(used)))
        return found

    def to_bytes(self, commit):
        items = sorted(self.tensors.items(), key=lambda kv: -kv[1]["array"].dtype.itemsize)
        header = {
            "__metadata__": {"fixture": f"{self.code} {self.name}", "reference_commit": commit}
        }
        offset, chunks = 0, []
        for name, tensor in items:
            array = tensor["array"]
            data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            header[name] = {
                "dtype": DTYPES[array.dtype],
                "shape": list(array.shape),
                "data_offsets": [offset, offset + len(data)],
            }
            offset += len(data)
            chunks.append(data)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % 8)
        return len(text).to_bytes(8, "little") + text + b"".join(chunks)

    def manifest_entry(self, data):
        tensors = []
        for name, tensor in self.tensors.items():
            tensors.append(
                {
                    "name": name,
                    "dtype": DTYPES[tensor["array"].dtype],
                    "shape": list(tensor["array"].shape),
                    "role": tensor["role"],
                    **tensor["tolerance"],
                    "doc": tensor["doc"],
                }
            )
        return {
            "code": self.code,
            "name": self.name,
            "about": self.about,
            "file": self.file,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "tensors": tensors,
        }


def read_safetensors(data):
    """Own bytes back to arrays, for --check's report of differences."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    back = {v: k for k, v in DTYPES.items()}
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            raw = data[8 + size + begin : 8 + size + end]
            arrays[name] = np.frombuffer(raw, dtype=back[entry["dtype"]]).reshape(entry["shape"])
    return arrays
