"""Fixtures F17-F25: unimix, sampling, the recurrent cell, single steps and whole scans of sheeprl's RSSM."""

from contextlib import contextmanager

import numpy as np
import torch
from torch.distributions import OneHotCategoricalStraightThrough

from . import tiny
from .container import fixture
from .layers import EPS, leaf, normal
from .reference import BridgeError, perturb
from .tiny import A, B, D, H, S, T, U

E = U  # embedding width of these fixtures: the vector encoder's


@contextmanager
def spied(owner, name, calls):
    """Within the block, every call of owner.name is kept as (arguments, result)."""
    original = getattr(owner, name)

    def spy(*args, **kwargs):
        result = original(*args, **kwargs)
        calls.append((args, result))
        return result

    setattr(owner, name, spy)
    try:
        yield calls
    finally:
        setattr(owner, name, original)


def vector_rssm(ref, seed, **kwargs):
    """sheeprl's RSSM as build_agent makes it, behind a vector encoder (so E = U)."""
    return tiny.Agent(ref, seed, image=False, vector=True, **kwargs).world_model.rssm


def index_of(one_hot):
    return one_hot.detach().argmax(-1).int()


def unimix(ref, rssm, logits):
    """(lambda, m) of sheeprl's _uniform_mix; m is what it hands to probs_to_logits."""
    with spied(ref.agent, "probs_to_logits", []) as calls:
        lam = rssm._uniform_mix(logits.reshape(1, -1, S * D))
    return lam.view(-1, S, D), calls[0][0][0].reshape(-1, S, D)


@fixture("F17", "unimix", "RSSM._uniform_mix: 99 % softmax, 1 % uniform, per categorical.")
def f17(ref, fx):
    logits = normal(1701, 6, S, D, scale=2.0)
    logits[1] = 0.7
    logits[2, 0] = torch.tensor([50.0, -50.0, 0.0, 50.0, -50.0])
    logits[2, 1] = torch.tensor([50.0, -50.0, -50.0, -50.0, -50.0])
    logits = leaf(logits)
    lam, m = unimix(ref, vector_rssm(ref, 17), logits)
    probs = OneHotCategoricalStraightThrough(logits=lam).probs
    dm, dlam = normal(1702, 6, S, D), normal(1703, 6, S, D)
    from_m = torch.autograd.grad((probs * dm).sum(), logits, retain_graph=True)[0]
    from_lam = torch.autograd.grad((lam * dlam).sum(), logits)[0]
    fx.given("logits", logits, "[row][s][d]; row 1 all equal, row 2 with +-50")
    fx.close("m", m, "mixed probabilities", abs=1e-6, rel=0)
    fx.close("lambda", lam, "log of the clamped m", abs=1e-6, rel=1e-6)
    fx.given("dm", dm, "upstream gradient of the probabilities that sampling uses")
    fx.close("dlogits_of_dm", from_m, "gradient of logits for dm", abs=1e-6, rel=1e-5)
    fx.given("dlambda", dlam, "upstream gradient of lambda itself")
    fx.close("dlogits_of_dlambda", from_lam, "gradient of logits for dlambda", abs=1e-6, rel=1e-5)


@fixture(
    "F18",
    "st_sample",
    "compute_stochastic_state: sample by inverse CDF, straight-through gradient, and mode.",
)
def f18(ref, fx):
    logits = normal(1801, 8, S, D, scale=1.5)
    logits[7] = 0.0
    logits = leaf(logits)
    lam, m = unimix(ref, vector_rssm(ref, 18), logits)
    rng = np.random.default_rng(1802)
    u = (rng.integers(0, 1 << 24, size=(8, S)) / (1 << 24)).astype(np.float32)
    u[0], u[1] = 0.0, 1.0 - 2.0**-24
    cdf = np.cumsum(m.detach().numpy(), axis=-1, dtype=np.float32)[..., :-1]
    if np.abs(cdf - u[..., None]).min() < 1e-4:
        raise BridgeError("F18: choose another seed, a uniform lies on an edge")
    ref.sampler.start(0, queue=[u])
    z = ref.dv2_utils.compute_stochastic_state(lam.reshape(8, S * D), discrete=D)
    mode = ref.dv2_utils.compute_stochastic_state(lam.reshape(8, S * D), discrete=D, sample=False)
    dz = normal(1803, 8, S, D)
    z.backward(dz)
    fx.given("logits", logits, "[row][s][d], before unimix; row 7 all equal")
    fx.close("m", m, "mixed probabilities", abs=1e-6, rel=0)
    fx.given("u", u, "[row][s]; row 0 all 0, row 1 all 1 - 2^-24")
    fx.exact("index", index_of(z), "sampled class")
    fx.exact("z", z, "exactly one-hot")
    fx.exact(
        "mode_index", index_of(mode), "class of the largest m, the lowest where several are equal"
    )
    fx.given("dz", dz, "upstream gradient")
    fx.close(
        "dlogits",
        logits.grad,
        "gradient of logits: dz passes to the probabilities unchanged",
        abs=1e-6,
        rel=1e-5,
    )


@fixture(
    "F19", "gru_cell", "sheeprl's LayerNormGRUCell, one LayerNorm over the 3H values of W [h; x]."
)
def f19(ref, fx):
    cell = ref.models.LayerNormGRUCell(
        U, H, bias=False, layer_norm_cls=ref.models.LayerNorm, layer_norm_kw=dict(EPS)
    )
    perturb(cell, 1901)
    x, h = leaf(normal(1902, B, U)), leaf(normal(1903, B, H))
    sigmoids, tanhs, norms = [], [], []
    cell.layer_norm.register_forward_hook(lambda m, i, o: norms.append((i[0], o)))
    with spied(torch, "sigmoid", sigmoids), spied(torch, "tanh", tanhs):
        h_next = cell(x, h)
    upstream = normal(1904, B, H)
    h_next.backward(upstream)
    fx.given("x", x, "[b][U]")
    fx.given("h", h, "[b][H]")
    fx.given("weight", cell.linear.weight, "[3H][H+U], columns h first, then x")
    fx.given("ln_weight", cell.layer_norm.weight)
    fx.given("ln_bias", cell.layer_norm.bias)
    fx.close("pre", norms[0][0], "W [h; x]")
    fx.close(
        "norm",
        norms[0][1],
        "after LayerNorm: thirds reset, candidate, update before their functions",
        abs=1e-5,
    )
    fx.close("reset", sigmoids[0][1], "sigmoid of the first third")
    fx.close("cand", tanhs[0][1], "tanh(reset * second third)")
    fx.close("update", sigmoids[1][1], "sigmoid(last third - 1)")
    fx.close("h_next", h_next, "update*cand + (1-update)*h")
    fx.given("dh_next", upstream, "upstream gradient")
    fx.grad("dh", h.grad)
    fx.grad("dx", x.grad)
    fx.grad("dweight", cell.linear.weight.grad)
    fx.grad("dln_weight", cell.layer_norm.weight.grad)
    fx.grad("dln_bias", cell.layer_norm.bias.grad)


@fixture(
    "F20", "recurrent_step", "sheeprl's RecurrentModel: hidden layer on [z; a], then the cell."
)
def f20(ref, fx):
    model = vector_rssm(ref, 20).recurrent_model
    z, a = leaf(tiny.one_hot_latent(2001, B).view(B, S * D)), leaf(tiny.one_hot_heads(2002, B))
    h = leaf(normal(2003, B, H))
    features = []
    model.mlp.register_forward_hook(lambda m, i, o: features.append(o))
    h_next = model(torch.cat((z, a), -1), h)
    upstream = normal(2004, B, H)
    h_next.backward(upstream)
    fx.given("z", z, "[b][S*D] one-hot")
    fx.given("a", a, "[b][A], heads 5 and 3 one-hot")
    fx.given("h", h)
    fx.params(model, names="rssm.recurrent_model.", doc="sheeprl's names")
    fx.close("f", features[0], "[b][U], output of the hidden layer")
    fx.close("h_next", h_next, "[b][H]")
    fx.given("dh_next", upstream, "upstream gradient")
    for name, tensor in (("dz", z), ("da", a), ("dh", h)):
        fx.grad(name, tensor.grad)
    fx.param_grads(model, names="rssm.recurrent_model.", doc="gradient")


@fixture(
    "F21", "initial_state", "RSSM.get_initial_states: h0 = tanh(w0), z0 = mode of the prior at h0."
)
def f21(ref, fx):
    cases = {
        "perturbed": (vector_rssm(ref, 21), "all parameters perturbed"),
        "zero_w0": (vector_rssm(ref, 22), "perturbed, but w0 = 0"),
        "fresh": (
            vector_rssm(ref, 23, fresh=True),
            "as initialised: w0 = 0, all logits tie, so index 0",
        ),
    }
    with torch.no_grad():
        cases["zero_w0"][0].initial_recurrent_state.zero_()
    for name, (rssm, doc) in cases.items():
        raw = []
        rssm.transition_model.register_forward_hook(lambda m, i, o: raw.append(o))
        h0, z0 = rssm.get_initial_states((1, 1))
        if name != "fresh" and tiny.argmax_margin(raw[0]) < 1e-3:
            raise BridgeError("F21: choose another seed, z0 is nearly a tie")
        fx.given(f"{name}.w0", rssm.initial_recurrent_state, "rssm.initial_recurrent_state; " + doc)
        fx.params(
            rssm.transition_model,
            prefix=name + ".param.",
            names="rssm.transition_model.",
            doc="sheeprl's names",
        )
        fx.close(f"{name}.h0", h0.view(H), "tanh(w0)")
        fx.close(f"{name}.logits", raw[0].view(S, D), "of the prior at h0, before unimix")
        fx.exact(f"{name}.z0_index", index_of(z0).view(S), "class per categorical")


def watch(rssm):
    """Outputs of the inner layers, one list entry per call."""
    seen = {}
    for key, module in {
        "f": rssm.recurrent_model.mlp,
        "prior_hidden": rssm.transition_model._model[2],
        "prior_logits": rssm.transition_model,
        "post_hidden": rssm.representation_model._model[2],
        "post_logits": rssm.representation_model,
    }.items():
        module.register_forward_hook(
            lambda m, i, o, key=key: seen.setdefault(key, []).append(o.detach())
        )

    def keep_inputs(module, inputs, output):
        for key, value in zip(("za", "hbar"), inputs):
            seen.setdefault(key, []).append(value.detach())
        seen.setdefault("h", []).append(output.detach())

    rssm.recurrent_model.register_forward_hook(keep_inputs)
    return seen


LAYERS = {
    "f": "hidden layer of [z; a], after z, h and a were replaced or masked by is_first",
    "prior_hidden": "hidden layer of the transition model",
    "prior_logits": "its output, before unimix",
    "post_hidden": "hidden layer of the representation model",
    "post_logits": "its output, before unimix",
}


def put_layers(fx, seen, shape):
    """The transition model runs twice a step, first for the initial state: keep the second."""
    for key, doc in LAYERS.items():
        calls = seen[key][1::2] if key.startswith("prior") else seen[key]
        fx.close("layer." + key, torch.cat(calls).reshape(*shape, -1), doc, abs=1e-5)


@fixture(
    "F22", "dynamic_step", "One RSSM.dynamic step of three environments, the middle one at a reset."
)
def f22(ref, fx):
    rssm = vector_rssm(ref, 24)
    z, h = tiny.one_hot_latent(2201, 1, B), normal(2202, 1, B, H)
    a, e = tiny.one_hot_heads(2203, 1, B), normal(2204, 1, B, E)
    first = torch.tensor([0.0, 1.0, 0.0]).reshape(1, B, 1)
    seen = watch(rssm)
    ref.sampler.start(2205)
    h_next, post, prior, post_lam, prior_lam = rssm.dynamic(z, h, a, e, first)
    if tiny.argmax_margin(seen["prior_logits"][0]) < 1e-3:
        raise BridgeError("F22: choose another seed, z0 is nearly a tie")
    fx.params(rssm, names="rssm.", doc="sheeprl's names")
    fx.given("z_index", index_of(z[0]), "[b][s] previous posterior")
    fx.given("h", h[0], "[b][H]")
    fx.given("a", a[0], "[b][A] previous action")
    fx.given("e", e[0], "[b][E] embedding")
    fx.given("is_first", first[0], "[b][1]")
    fx.given(
        "u_prior", ref.sampler.draws[0][0][0], "[b][s]; drawn before u_post, its sample is not used"
    )
    fx.given("u_post", ref.sampler.draws[1][0][0], "[b][s]")
    fx.close("za_bar", seen["za"][0][0], "[b][S*D+A], z and a after is_first")
    fx.close("h_bar", seen["hbar"][0][0], "[b][H], h after is_first")
    put_layers(fx, seen, (B,))
    fx.close("h_next", h_next[0], "[b][H]")
    fx.close("lambda_prior", prior_lam.view(B, S, D), abs=1e-5)
    fx.close("lambda_post", post_lam.view(B, S, D), abs=1e-5)
    fx.exact("prior_index", index_of(prior[0]), "[b][s]")
    fx.exact("post_index", index_of(post[0]), "[b][s]")


def scan_inputs(seed):
    """T=6, B=3; stored resets at t=0, 2, 4 in different environments, t=0 forced for all as sheeprl's train does."""
    first = torch.zeros(T, B, 1)
    first[0, 0] = first[2, 1] = first[4, 2] = 1
    used = first.clone()
    used[0] = 1
    actions = tiny.one_hot_heads(seed, T, B)
    previous = torch.cat((torch.zeros_like(actions[:1]), actions[:-1]))
    return {
        "actions": actions,
        "previous": previous,
        "first": first,
        "used": used,
        "e": leaf(normal(seed + 1, T, B, E)),
    }


def run_scan(ref, rssm, data, seed):
    """The loop of sheeprl's train over RSSM.dynamic."""
    ref.sampler.start(seed)
    decoupled = isinstance(rssm, ref.agent.DecoupledRSSM)
    h, z = torch.zeros(1, B, H), torch.zeros(1, B, S, D)
    rows = {"h": [], "z": [], "prior": [], "post": []}
    if decoupled:
        post, posteriors = rssm._representation(data["e"])
    for t in range(T):
        step = slice(t, t + 1)
        if decoupled:
            z_prev = torch.zeros(1, B, S, D) if t == 0 else posteriors[t - 1 : t]
            h, _, prior = rssm.dynamic(z_prev, h, data["previous"][step], data["used"][step])
        else:
            h, z, _, lam, prior = rssm.dynamic(
                z, h, data["previous"][step], data["e"][step], data["used"][step]
            )
            rows["z"].append(z)
            rows["post"].append(lam)
        rows["h"].append(h)
        rows["prior"].append(prior)
    out = {k: torch.cat(v) for k, v in rows.items() if v}
    if decoupled:
        out["z"], out["post"] = posteriors, post
        u_post, u_prior = ref.sampler.draws[0][0], [d[0] for d in ref.sampler.draws[1:]]
    else:
        u_post = np.concatenate([d[0] for d in ref.sampler.draws[1::2]])
        u_prior = [d[0] for d in ref.sampler.draws[0::2]]
    out["u_post"], out["u_prior"] = u_post, np.concatenate(u_prior)
    return out


def put_scan_inputs(fx, rssm, data, out):
    fx.params(rssm, names="rssm.", doc="sheeprl's names")
    fx.given(
        "actions",
        data["actions"],
        "[t][b][A] as stored: chosen at o_t; step t uses row t-1, step 0 uses zeros",
    )
    fx.given("is_first", data["first"], "[t][b][1] as stored; step 0 is forced to 1 for every b")
    fx.given("e", data["e"], "[t][b][E] embedding")
    fx.given("u_prior", out["u_prior"], "[t][b][s]; the prior's sample is not used in training")
    fx.given("u_post", out["u_post"], "[t][b][s]")


def put_scan_outputs(fx, out):
    fx.close("h", out["h"], "[t][b][H]", abs=1e-5)
    fx.exact("post_index", index_of(out["z"]), "[t][b][s]")
    fx.close("lambda_prior", out["prior"].view(T, B, S, D), "[t][b][s][d]", abs=1e-5)
    fx.close("lambda_post", out["post"].view(T, B, S, D), "[t][b][s][d]", abs=1e-5)


def put_scan_gradients(fx, rssm, data, out, seed):
    upstream = {
        "dh": normal(seed, T, B, H),
        "dz": normal(seed + 1, T, B, S, D),
        "dlambda_prior": normal(seed + 2, T, B, S, D),
        "dlambda_post": normal(seed + 3, T, B, S, D),
    }
    total = (out["h"] * upstream["dh"]).sum() + (out["z"] * upstream["dz"]).sum()
    total = total + (out["prior"].view(T, B, S, D) * upstream["dlambda_prior"]).sum()
    total = total + (out["post"].view(T, B, S, D) * upstream["dlambda_post"]).sum()
    total.backward()
    for key, value in upstream.items():
        fx.given(key, value, "upstream gradient, added to what the scan itself sends back")
    fx.grad("de", data["e"].grad, "[t][b][E]")
    fx.param_grads(rssm, names="rssm.", doc="gradient; rssm.initial_recurrent_state is w0")


@fixture(
    "F23",
    "rssm_scan",
    "Six steps of RSSM.dynamic in the order of sheeprl's train, with resets inside the window.",
)
def f23(ref, fx):
    rssm = vector_rssm(ref, 25)
    data = scan_inputs(2301)
    seen = watch(rssm)
    out = run_scan(ref, rssm, data, 2303)
    if tiny.argmax_margin(seen["prior_logits"][0]) < 1e-3:
        raise BridgeError("F23: choose another seed, z0 is nearly a tie")
    put_scan_inputs(fx, rssm, data, out)
    put_layers(fx, seen, (T, B))
    put_scan_outputs(fx, out)


@fixture("F24", "rssm_scan_grad", "Gradients of a whole scan (same parameters and inputs as F23).")
def f24(ref, fx):
    torch.manual_seed(23)  # build_agent starts from the weights F23 starts from
    rssm = vector_rssm(ref, 25)
    data = scan_inputs(2301)
    out = run_scan(ref, rssm, data, 2303)
    put_scan_inputs(fx, rssm, data, out)
    put_scan_outputs(fx, out)
    put_scan_gradients(fx, rssm, data, out, 2401)


@fixture(
    "F25",
    "decoupled_scan",
    "The scan of DecoupledRSSM: posteriors from the embedding alone, all drawn before the loop.",
)
def f25(ref, fx):
    rssm = vector_rssm(ref, 26, decoupled=True)
    data = scan_inputs(2501)
    out = run_scan(ref, rssm, data, 2503)
    put_scan_inputs(fx, rssm, data, out)
    put_scan_outputs(fx, out)
    put_scan_gradients(fx, rssm, data, out, 2505)
