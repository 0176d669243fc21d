"""Fixtures F01-F16: pixels, symlog, two-hot, LayerNorm, convolutions, image and vector encoders and decoders."""

import numpy as np
import torch

from .container import fixture
from .reference import Fabric, perturb

# Tolerance behind a LayerNorm over m = 2 channels: it multiplies rounding by up to 1/sqrt(1e-3) where both nearly agree.
TWO_CHANNELS = 2e-5
EPS = {"eps": 1e-3}  # sheeprl's cnn_layer_norm.kw and mlp_layer_norm.kw


def normal(seed, *shape, scale=1.0):
    values = np.random.default_rng(seed).standard_normal(shape) * scale
    return torch.from_numpy(values.astype(np.float32))


def leaf(tensor):
    return tensor.clone().requires_grad_(True)


def random_shades(seed, *shape):
    """Blocky four-shade pictures, like a game's: 8x8 blocks, some of them speckled."""
    rng = np.random.default_rng(seed)
    *lead, height, width = shape
    blocks = rng.integers(0, 4, size=(*lead, height // 8, width // 8))
    shades = blocks.repeat(8, axis=-2).repeat(8, axis=-1)
    speckle = rng.random(shades.shape) < 0.15
    return np.where(speckle, rng.integers(0, 4, size=shades.shape), shades).astype(np.uint8)


def pack2(shades):
    """Four horizontally adjacent shades per byte, the first in the lowest bits."""
    s = shades.astype(np.uint8)
    return s[..., 0::4] | s[..., 1::4] << 2 | s[..., 2::4] << 4 | s[..., 3::4] << 6


def reference_pixels(ref, shades):
    """sheeprl's own pixel path (prepare_obs), fed with 85*shade."""
    flat = (85 * shades.reshape(-1, *shades.shape[-3:])).astype(np.uint8)
    made = ref.dv3_utils.prepare_obs(Fabric(), {"rgb": flat}, cnn_keys=["rgb"], num_envs=len(flat))
    return made["rgb"].reshape(shades.shape)


def record_outputs(module, kinds, into, names=""):
    """Keeps the output of every submodule of the given kinds under its sheeprl name; returns the hooks."""
    hooks = []
    for key, sub in module.named_modules():
        if isinstance(sub, kinds):
            hooks.append(
                sub.register_forward_hook(
                    lambda m, i, o, key=key: into.setdefault(names + key, []).append(o.detach())
                )
            )
    return hooks


@fixture(
    "F01",
    "packed2_lut",
    "Every byte as four shades. By definition (spec 1.1); sheeprl has no packed2.",
)
def f01(ref, fx):
    byte = np.arange(256, dtype=np.uint8)
    lut = np.stack([byte >> 2 * k & 3 for k in range(4)], axis=-1)
    assert (pack2(lut)[:, 0] == byte).all()
    fx.given("byte", byte, "0..255")
    fx.exact(
        "shade", lut, "shade[b][k]: pixel k of byte b, k = 0 leftmost; packing them again gives b"
    )


@fixture("F02", "packed2_norm", "The four shades as float32, by sheeprl's prepare_obs on 85*shade.")
def f02(ref, fx):
    shades = np.arange(4, dtype=np.uint8)
    value = reference_pixels(ref, shades.reshape(1, 1, 4)).numpy().reshape(4)
    assert (value.view(np.uint32) == [0xBF000000, 0xBE2AAAAA, 0x3E2AAAAC, 0x3F000000]).all()
    assert (value == shades.astype(np.float32) / np.float32(3) - np.float32(0.5)).all()
    fx.given("shade", shades, "0..3")
    fx.exact("value", value, "shade/3 - 0.5")
    fx.exact("bits", value.view(np.uint32), "the same four values as bit patterns")


@fixture(
    "F03",
    "packed2_frame",
    "Screen to packed frame (even pixels, by definition) and packed batch to float32 (sheeprl).",
)
def f03(ref, fx):
    screen = random_shades(301, 144, 160)
    pixels = screen[::2, ::2]
    batch = random_shades(302, 2, 3, 1, 72, 80)
    fx.given("screen", screen, "shades of a 160x144 screen, [y][x]")
    fx.exact("packed", pack2(pixels), "packed2 of the screen's even pixels, [y][byte]")
    fx.exact("pixels", pixels, "the same as one shade per byte")
    fx.given("batch_packed", pack2(batch), "[t][b][1][y][byte]")
    fx.exact("batch_value", reference_pixels(ref, batch), "[t][b][1][y][x], exact bits")


@fixture("F04", "symlog_symexp", "sheeprl.utils.utils.symlog and symexp.")
def f04(ref, fx):
    magnitudes = np.array(
        [10.0**e for e in range(-6, 10)] + [0.5, 3.7, 123.456, 7e8], dtype=np.float32
    )
    x = torch.from_numpy(
        np.concatenate([[np.float32(0)], magnitudes, -magnitudes]).astype(np.float32)
    )
    y = torch.from_numpy(np.linspace(-20, 20, 81, dtype=np.float32))
    fx.given("x", x)
    fx.close(
        "symlog",
        ref.utils.symlog(x),
        "log(1+|x|), not log1p: small x differ by up to 6e-8",
        abs=1.3e-7,
        rel=1e-6,
    )
    fx.given("y", y)
    fx.close("symexp", ref.utils.symexp(y), "of y", abs=1.3e-7, rel=1e-6)
    fx.close(
        "round_trip", ref.utils.symexp(ref.utils.symlog(x)), "symexp(symlog(x))", abs=3e-7, rel=5e-6
    )


@fixture(
    "F05",
    "twohot_bins",
    "Bins of TwoHotEncodingDistribution: linspace(-20, 20, K) as torch rounds it.",
)
def f05(ref, fx):
    bins = ref.distribution.TwoHotEncodingDistribution(torch.zeros(1, 255)).bins
    bins7 = ref.distribution.TwoHotEncodingDistribution(torch.zeros(1, 7)).bins
    fx.close(
        "bins", bins, "K = 255; slightly asymmetric, bin 127 is not exactly 0", abs=2e-6, rel=0
    )
    fx.close("bins7", bins7, "K = 7", abs=2e-6, rel=0)
    fx.info("asymmetry", bins + bins.flip(0), "b_k + b_(254-k) of the reference")


def twohot_weights(ref, x, **kwargs):
    """Dense q out of log_prob itself: with zero float64 logits d log_prob/d logits = q - 1/K, exactly invertible."""
    logits = torch.zeros(*x.shape[:-1], 255, dtype=torch.float64, requires_grad=True)
    ref.distribution.TwoHotEncodingDistribution(logits, dims=1, **kwargs).log_prob(
        x
    ).sum().backward()
    q = logits.grad + 1.0 / 255
    return torch.where(q.abs() < 1e-9, torch.zeros_like(q), q).float()


@fixture(
    "F06",
    "twohot_weights",
    "Dense two-hot targets, taken out of TwoHotEncodingDistribution.log_prob by its gradient.",
)
def f06(ref, fx):
    same = lambda v: v
    bins = ref.distribution.TwoHotEncodingDistribution(torch.zeros(1, 255)).bins
    edge = float(ref.utils.symexp(torch.tensor(20.0)))
    x = [0, 1, -1, 3.7, -3.7, 0.25, -0.004, 57.0, -1234.5, 1e6, 1e9, -1e9, edge, -edge]
    x = torch.tensor(x, dtype=torch.float32).reshape(-1, 1)
    picks = [0, 1, 60, 126, 127, 128, 200, 253, 254]
    exact = bins[picks]
    middle = (bins[[0, 60, 127, 200, 253]] + bins[[1, 61, 128, 201, 254]]) / 2
    y = torch.cat([exact, middle, torch.tensor([20.0, -20.0, 25.0, -25.0])]).reshape(-1, 1)
    q, q_y = twohot_weights(ref, x), twohot_weights(ref, y, transfwd=same)
    assert (q.sum(-1) - 1).abs().max() < 1e-6 and (q_y.sum(-1) - 1).abs().max() < 1e-6
    fx.given("target", x, "raw targets, encoded through symlog")
    fx.close(
        "q",
        q,
        "weights of target; each row sums to 1; |lo| may differ by one bin where a weight is ~0",
        abs=1e-5,
        rel=0,
    )
    fx.given("y", y, "values already in symlog space: exact bins, mid bins, ends, outside")
    fx.close("q_y", q_y, "weights of y", abs=1e-5, rel=0)


@fixture("F07", "twohot_logprob_grad", "TwoHotEncodingDistribution.log_prob and its gradient.")
def f07(ref, fx):
    logits = leaf(normal(701, 6, 3, 255, scale=1.5))
    target = normal(702, 6, 3, 1, scale=4.0) * torch.exp(normal(703, 6, 3, 1))
    upstream = normal(704, 6, 3)
    log_prob = ref.distribution.TwoHotEncodingDistribution(logits, dims=1).log_prob(target)
    log_prob.backward(upstream)
    fx.given("logits", logits, "[t][b][bin]")
    fx.given("target", target, "raw reward targets")
    fx.close("log_prob", log_prob, "[t][b]; the loss is minus this", abs=1e-5, rel=1e-5)
    fx.given("dlog_prob", upstream, "upstream gradient")
    fx.grad("dlogits", logits.grad, "(q - softmax)*dlog_prob")


@fixture(
    "F08", "twohot_mean", "TwoHotEncodingDistribution.mean (its mode is the same) and its gradient."
)
def f08(ref, fx):
    moderate = normal(801, 6, 255, scale=2.0)
    moderate[0] = 0.0
    logits = leaf(moderate)
    mean = ref.distribution.TwoHotEncodingDistribution(logits, dims=1).mean
    upstream = normal(802, 6, 1)
    mean.backward(upstream)
    extreme = torch.full((4, 255), -60.0)
    for row, bin_ in enumerate((254, 0, 200, 60)):
        extreme[row, bin_] = 60.0
    fx.given("logits", logits, "row 0 is all zero: its mean is rounding noise around 0")
    fx.close("mean", mean, "symexp(sum softmax*bins)", abs=5e-7, rel=1e-5)
    fx.given("dmean", upstream, "upstream gradient")
    fx.grad("dlogits", logits.grad, "dmean*exp(|ybar|)*softmax*(bin - ybar)")
    fx.given("extreme_logits", extreme, "all mass on bins 254, 0, 200, 60")
    fx.close(
        "extreme_mean",
        ref.distribution.TwoHotEncodingDistribution(extreme, dims=1).mean,
        "up to 4.85e8",
        abs=5e-7,
        rel=2e-5,
    )


def run_layer(fx, prefix, module, x, seed, names, kind="rows"):
    """Forward and backward of one module; names maps its parameters to tensor names."""
    x = leaf(x)
    y = module(x)
    dy = normal(seed, *y.shape)
    y.backward(dy)
    fx.given(prefix + "x", x, "input")
    for key, short in names.items():
        fx.given(prefix + short, module.get_parameter(key), "parameter")
    fx.close(prefix + "y", y, "output", abs=1e-5, rel=1e-5)
    fx.given(prefix + "dy", dy, "upstream gradient")
    fx.grad(prefix + "dx", x.grad, "gradient of x")
    for key, short in names.items():
        fx.grad(prefix + "d" + short, module.get_parameter(key).grad, "gradient of " + short)


@fixture(
    "F09",
    "layernorm",
    "sheeprl's LayerNorm over the last axis: biased variance, eps 1e-3 inside the root.",
)
def f09(ref, fx):
    module = perturb(ref.models.LayerNorm(12, **EPS), 901)
    unit = normal(902, 7, 12)
    unit = (unit - unit.mean(-1, keepdim=True)) / unit.std(-1, unbiased=False, keepdim=True)
    sigma = torch.tensor([1e-3, 1e-3, 1e-3**0.5, 1e-3**0.5, 1.0, 1.0, 20.0]).reshape(-1, 1)
    mean = torch.tensor([0.0, 1.0, 0.0, -2.0, 0.0, 3.0, 5.0]).reshape(-1, 1)
    fx.info("variance", sigma.squeeze(-1) ** 2, "variance of each row of x")
    run_layer(fx, "", module, unit * sigma + mean, 903, {"weight": "weight", "bias": "bias"})


@fixture(
    "F10",
    "channel_layernorm",
    "sheeprl's LayerNormChannelLast: over the channels of every pixel, layout [n][c][y][x].",
)
def f10(ref, fx):
    module = perturb(ref.models.LayerNormChannelLast(4, **EPS), 1001)
    run_layer(fx, "", module, normal(1002, 2, 4, 9, 10), 1003, {"weight": "weight", "bias": "bias"})


@fixture(
    "F11",
    "conv_k4s2p1",
    "One convolution of sheeprl's CNN block: kernel 4, stride 2, padding 1, no bias.",
)
def f11(ref, fx):
    args = {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False}
    for prefix, out, height, width, seed in (
        ("small.", 4, 9, 10, 1101),
        ("large.", 2, 72, 80, 1111),
    ):
        module = ref.models.CNN(3, [out], layer_args=args, activation=None)
        perturb(module, seed)
        run_layer(
            fx,
            prefix,
            module,
            normal(seed + 1, 2, 3, height, width),
            seed + 2,
            {"_model.0.weight": "w"},
        )


@fixture(
    "F12",
    "deconv_k4s2p1",
    "One transposed convolution of sheeprl's DeCNN block, weight [in][out][ky][kx], with bias.",
)
def f12(ref, fx):
    args = {"kernel_size": 4, "stride": 2, "padding": 1}
    module = ref.models.DeCNN(4, [3], layer_args=args, activation=None)
    perturb(module, 1201)
    names = {"_model.0.weight": "w", "_model.0.bias": "b"}
    run_layer(fx, "", module, normal(1202, 2, 4, 9, 10), 1203, names)


LAYER_KINDS = (
    torch.nn.Conv2d,
    torch.nn.ConvTranspose2d,
    torch.nn.Linear,
    torch.nn.LayerNorm,
    torch.nn.SiLU,
)


@fixture("F13", "cnn_encoder_72x80", "sheeprl's CNNEncoder, image 72x80, 3 stages, multiplier 2.")
def f13(ref, fx):
    encoder = ref.agent.CNNEncoder(["rgb"], [1], (72, 80), 2, layer_norm_kw=dict(EPS), stages=3)
    perturb(encoder, 1301)
    shades = random_shades(1302, 2, 2, 1, 72, 80)
    layers = {}
    record_outputs(encoder, LAYER_KINDS, layers)
    flat = encoder({"rgb": reference_pixels(ref, shades)})
    upstream = normal(1303, *flat.shape)
    flat.backward(upstream)
    fx.given("packed", pack2(shades), "[t][b][1][y][byte]")
    fx.params(encoder, names="encoder.cnn_encoder.", doc="sheeprl's names")
    for key, (value,) in layers.items():
        fx.close(
            "layer.encoder.cnn_encoder." + key,
            value,
            "output of that layer, [t*B+b][c][y][x]",
            abs=1e-5,
            rel=1e-5,
        )
    fx.close("flat", flat, "[t][b][c*90 + y*10 + x]", abs=1e-5, rel=1e-5)
    fx.given("dflat", upstream, "upstream gradient")
    fx.param_grads(encoder, names="encoder.cnn_encoder.", doc="gradient")


@fixture(
    "F14",
    "cnn_decoder_72x80",
    "sheeprl's CNNDecoder with core [4m,9,10], multiplier 2, latent width 28.",
)
def f14(ref, fx):
    decoder = ref.agent.CNNDecoder(
        ["rgb"], [1], 2, 28, 720, (72, 80), layer_norm_kw=dict(EPS), stages=3
    )
    perturb(decoder, 1433)
    latent = leaf(normal(1434, 2, 2, 28))
    layers = {}
    record_outputs(decoder, LAYER_KINDS, layers)
    image = decoder(latent)["rgb"]
    upstream = normal(1403, *image.shape)
    image.backward(upstream)
    names = "observation_model.cnn_decoder."
    fx.given("latent", latent, "[t][b][z,h]")
    fx.params(decoder, names=names, doc="sheeprl's names")
    for key, (value,) in layers.items():
        if key != "model.2._model.6":  # the last one is image itself
            fx.close(
                "layer." + names + key,
                value,
                "output of that layer, [t*B+b][c][y][x]",
                abs=TWO_CHANNELS,
                rel=1e-5,
            )
    fx.close("image", image, "[t][b][1][y][x]", abs=TWO_CHANNELS, rel=1e-5)
    fx.given("dimage", upstream, "upstream gradient")
    fx.grad("dlatent", latent.grad, "gradient of latent")
    fx.param_grads(decoder, names=names, doc="gradient")


@fixture(
    "F15",
    "mlp_encoder_symlog",
    "sheeprl's MLPEncoder on two vector keys, symlog of each, concatenated in key order.",
)
def f15(ref, fx):
    encoder = perturb(
        ref.agent.MLPEncoder(["senses", "events"], [4, 6], 2, 6, layer_norm_kw=dict(EPS)), 1501
    )
    senses = normal(1502, 2, 3, 4) * torch.tensor([1e-3, 1.0, 100.0, 1e6])
    events = np.random.default_rng(1503).integers(0, 256, size=(2, 3, 6)).astype(np.uint8)
    layers = {}
    record_outputs(encoder, LAYER_KINDS, layers)
    out = encoder({"senses": senses, "events": torch.from_numpy(events).float()})
    upstream = normal(1504, *out.shape)
    out.backward(upstream)
    fx.given("senses", senses, "[t][b][4]")
    fx.given("events", events, "[t][b][6], cast to float before symlog")
    fx.params(encoder, names="encoder.mlp_encoder.", doc="sheeprl's names")
    for key, (value,) in layers.items():
        fx.close(
            "layer.encoder.mlp_encoder." + key, value, "output of that layer", abs=1e-5, rel=1e-5
        )
    fx.close("out", out, "[t][b][U], the last layer's output", abs=1e-5, rel=1e-5)
    fx.given("dout", upstream, "upstream gradient")
    fx.param_grads(encoder, names="encoder.mlp_encoder.", doc="gradient")


@fixture("F16", "mlp_decoder", "sheeprl's MLPDecoder with two output keys.")
def f16(ref, fx):
    decoder = perturb(
        ref.agent.MLPDecoder(["senses", "extra"], [4, 3], 28, 2, 6, layer_norm_kw=dict(EPS)), 1601
    )
    latent = leaf(normal(1602, 2, 3, 28))
    layers = {}
    record_outputs(decoder, LAYER_KINDS, layers)
    out = decoder(latent)
    upstream = {k: normal(1603 + i, *v.shape) for i, (k, v) in enumerate(out.items())}
    sum((out[k] * upstream[k]).sum() for k in out).backward()
    names = "observation_model.mlp_decoder."
    fx.given("latent", latent, "[t][b][z,h]")
    fx.params(decoder, names=names, doc="sheeprl's names")
    for key, (value,) in layers.items():
        if not key.startswith("heads."):
            fx.close("layer." + names + key, value, "output of that layer", abs=1e-5, rel=1e-5)
    for key in out:
        fx.close("out." + key, out[key], "raw head output, in symlog space", abs=1e-5, rel=1e-5)
        fx.given("dout." + key, upstream[key], "upstream gradient")
    fx.grad("dlatent", latent.grad, "gradient of latent")
    fx.param_grads(decoder, names=names, doc="gradient")
