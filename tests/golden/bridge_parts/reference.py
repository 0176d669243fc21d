"""Imports sheeprl's own modules from a source tree, with stand-ins for the packages it does not need here.

Nothing of sheeprl is re-typed: networks, distributions, losses, the training step, the main loop and the replay
buffers run as they are. Four things are replaced, each because there is no other way:
  - packages used for configuration, logging and environments (STAND_INS) become empty stand-ins;
  - torch's categorical sampling becomes inverse CDF from a recorded uniform array (Sampler);
  - torch's normal noise becomes recorded noise (Noise);
  - the image decoder's fixed 4x4 core becomes 9x10 (frame_decoder_class), sheeprl has no other size.
"""

import hashlib
import importlib
import importlib.abc
import importlib.machinery
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import torch

REPOSITORY = "Eclectic-Sheep/sheeprl"
COMMIT = "33b636681fd8b5340b284f2528db8821ab8dcd0b"

# sha256 of every source file that contributes a number, so that an exported tree without git can be checked too
SOURCES = {
    "sheeprl/algos/dreamer_v2/agent.py": (
        "ee0d4012e5ebf8aa5ba49da0b132407acc4f23d0e5339918b65fedc8740d77e0"
    ),
    "sheeprl/algos/dreamer_v2/utils.py": (
        "3123e420400cd5fa3d53ef88c250bc6c2cc3f20d7518f47fabe73a9062945824"
    ),
    "sheeprl/algos/dreamer_v3/agent.py": (
        "b13963bb9942691b3ed789c253b4af5cc300c2a8e977dba4276d7b62a034a998"
    ),
    "sheeprl/algos/dreamer_v3/dreamer_v3.py": (
        "5701545048237754e1b890e41d67b9ae10c6bc6817a88cdd95c884ea4971d4b3"
    ),
    "sheeprl/algos/dreamer_v3/loss.py": (
        "8877d3c3d92570e3cf51e613c996c69b2ecd5b8c59374bd79c24b177e3343360"
    ),
    "sheeprl/algos/dreamer_v3/utils.py": (
        "af317d2228da71bbec24952f46969ae72e55ec4f0d9bee59e345d9667826e43f"
    ),
    "sheeprl/data/buffers.py": ("41a90b72d4d59ec6d86d19e03082fe5f2a48e8af08b55161ca1ade8bb94eaefb"),
    "sheeprl/models/models.py": (
        "a0057adb10aa30bc1ae3fa4361e785243bb4ff0e14b3c64184642ee28408869f"
    ),
    "sheeprl/utils/distribution.py": (
        "5cc7339f69fbee0c7a9c074e9cd91497e804d9112877d9422f1daa6d88f5a123"
    ),
    "sheeprl/utils/model.py": ("82ff889a45f26eecc55cb99d0a76707782d8adfe146c2b3bc62bd92b01345993"),
    "sheeprl/utils/utils.py": ("3d72d53ebcc8da9867cf1d80299bbb4ffc37555b91f5d2f8026795c7df72c704"),
}

STAND_INS = (
    "cv2 gymnasium hydra lightning lightning_utilities mlflow omegaconf pytorch_lightning rich torchmetrics"
).split()


class BridgeError(Exception):
    """A message for the person who runs the bridge."""


def check_sources(root):
    """Refuses anything but the pinned commit: by git where the tree has it, always by the files' hashes."""
    if (root / ".git").exists():
        head = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True
        )
        if head.stdout.strip() != COMMIT:
            found = head.stdout.strip() or head.stderr.strip()
            raise BridgeError(
                f"{root}: HEAD is {found}, fixtures come from {COMMIT}; check that commit out"
            )
    for path, expected in SOURCES.items():
        if not (root / path).is_file():
            raise BridgeError(
                f"{root}: {path} is missing; --sheeprl wants the root of a sheeprl source tree"
            )
        if hashlib.sha256((root / path).read_bytes()).hexdigest() != expected:
            raise BridgeError(f"{root}: {path} differs from commit {COMMIT[:7]}; restore it")


class _StandInMeta(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = _stand_in_class(name)
        setattr(cls, name, made)
        return made


def _stand_in_class(name):
    def accept(self, *args, **kwargs):
        pass

    body = {
        "__init__": accept,
        "__bool__": lambda self: False,
        "__class_getitem__": classmethod(lambda c, i: c),
    }
    return _StandInMeta(name, (), body)


class _StandInModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = _stand_in_class(name)
        setattr(self, name, made)
        return made


class StandInModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the named modules, and all below them, as empty ones."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, fullname, path=None, target=None):
        if any(fullname == name or fullname.startswith(name + ".") for name in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return _StandInModule(spec.name)

    def exec_module(self, module):
        pass


def _get_class(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


class Sampler:
    """Inverse CDF sampling from recorded uniforms.

    index = number of k with cdf_k <= u, at most D-1; cdf is the sequential float32 cumulative sum. A uniform within
    1e-4 of an inner edge is drawn again, so that rounding cannot flip an index. Multiples of 2^-24, so exact in float32.
    """

    MARGIN = 1e-4

    def __init__(self):
        self.start(0)

    def start(self, seed, queue=(), margin=MARGIN):
        self.margin = margin
        self.rng = np.random.default_rng(seed)
        self.queue = [np.asarray(u, np.float32) for u in queue]
        self.draws = []  # (u, index) per call, in call order

    def __call__(self, categorical, sample_shape=torch.Size()):
        if len(sample_shape):
            raise BridgeError("only one sample per categorical is supported")
        probs = categorical.probs.detach().numpy()
        cdf = np.cumsum(probs, axis=-1, dtype=np.float32)
        if self.queue:
            u = self.queue.pop(0).reshape(probs.shape[:-1])
        else:
            u = self._uniform(probs.shape[:-1])
            while True:
                near = (np.abs(cdf[..., :-1] - u[..., None]) < self.margin).any(-1)
                if not near.any():
                    break
                u = np.where(near, self._uniform(u.shape), u)
        index = np.minimum((cdf <= u[..., None]).sum(-1), probs.shape[-1] - 1)
        self.draws.append((u, index.astype(np.int32)))
        return torch.from_numpy(index)

    def _uniform(self, shape):
        return (self.rng.integers(0, 1 << 24, size=shape) / np.float32(1 << 24)).astype(np.float32)


class Noise:
    """Standard normal numbers that are recorded, for distributions that are not categorical."""

    def __init__(self):
        self.start(0)

    def start(self, seed, queue=()):
        self.rng = np.random.default_rng(seed)
        self.queue = list(queue)
        self.draws = []

    def __call__(self, shape, dtype, device):
        drawn = self.queue.pop(0) if self.queue else self.rng.standard_normal(tuple(shape))
        self.draws.append(np.asarray(drawn, np.float32).reshape(tuple(shape)))
        return torch.from_numpy(self.draws[-1]).to(dtype)


class Fabric:
    """What sheeprl's train and main ask of lightning's Fabric, on one CPU."""

    device = torch.device("cpu")
    global_rank, world_size, is_global_zero, loggers = 0, 1, True, []
    accelerator = _precision = None

    def __init__(self, *args, **kwargs):
        self.clips = []  # called with (module, norm) after backward and clipping

    def setup_module(self, module):
        if module is not None:
            object.__setattr__(module, "module", module)  # the wrapper sheeprl unwraps with .module
        return module

    def setup_optimizers(self, *optimizers):
        return optimizers

    def backward(self, loss):
        loss.backward()

    def clip_gradients(self, module, optimizer, max_norm, error_if_nonfinite):
        before = {k: p.grad.clone() for k, p in module.named_parameters() if p.grad is not None}
        norm = torch.nn.utils.clip_grad_norm_(
            module.parameters(),
            max_norm=max_norm,
            norm_type=2.0,
            error_if_nonfinite=error_if_nonfinite,
        )
        self.clips.append({"module": module, "norm": norm, "grads": before})
        return norm

    def all_gather(self, x):
        return x

    def print(self, *args):
        pass


class Reference:
    """sheeprl's modules by short name, and the sampler that all of them draw from."""

    repository, commit = REPOSITORY, COMMIT

    def __init__(self, root):
        check_sources(root)
        torch.set_num_threads(1)
        torch.backends.mkldnn.enabled = False
        torch.use_deterministic_algorithms(True)
        sys.meta_path.insert(0, StandInModules(STAND_INS))
        package = types.ModuleType("sheeprl")  # its own __init__ imports every algorithm
        package.__path__ = [str(root / "sheeprl")]
        sys.modules["sheeprl"] = package
        import hydra.utils
        import lightning.fabric

        hydra.utils.get_class = _get_class
        hydra.utils.instantiate = lambda *args, **kwargs: None
        lightning.fabric.Fabric = Fabric

        self.models = importlib.import_module("sheeprl.models.models")
        self.distribution = importlib.import_module("sheeprl.utils.distribution")
        self.utils = importlib.import_module("sheeprl.utils.utils")
        self.buffers = importlib.import_module("sheeprl.data.buffers")
        self.agent = importlib.import_module("sheeprl.algos.dreamer_v3.agent")
        self.loss = importlib.import_module("sheeprl.algos.dreamer_v3.loss")
        self.dv3_utils = importlib.import_module("sheeprl.algos.dreamer_v3.utils")
        self.dv3 = importlib.import_module("sheeprl.algos.dreamer_v3.dreamer_v3")
        self.dv2_utils = importlib.import_module("sheeprl.algos.dreamer_v2.utils")
        self.agent.CNNDecoder = frame_decoder_class(self.agent.CNNDecoder)

        self.sampler = Sampler()
        torch.distributions.Categorical.sample = lambda cat, shape=torch.Size(): self.sampler(
            cat, shape
        )
        self.noise = Noise()
        torch.distributions.normal._standard_normal = self.noise
        torch.distributions.Distribution.set_default_validate_args(
            False
        )  # sheeprl's distribution.validate_args


def frame_decoder_class(base):
    """sheeprl's CNNDecoder with core [4m,9,10] in place of [8m,4,4]: only the reshape between its layers changes."""

    class FrameDecoder(base):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.model[1] = torch.nn.Unflatten(1, (-1, 9, 10))

    return FrameDecoder


def perturb(module, seed, amount=0.3):
    """Adds amount*normal to every parameter: zero heads, unit scales and zero biases hide mistakes."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = rng.standard_normal(tuple(parameter.shape)).astype(np.float32)
            parameter.add_(torch.from_numpy(noise), alpha=amount)
    return module
