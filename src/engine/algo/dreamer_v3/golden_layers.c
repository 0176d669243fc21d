// Parity checks of pixels, distributions and single layers: F01-F16.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "emu/gb_obs.h"
#include "engine/algo/dreamer_v3/golden_case.h"
#include "engine/algo/dreamer_v3/golden_checks.h"
#include "engine/algo/dreamer_v3/wm_net.h"
#include "engine/algo/dreamer_v3/world_model.h"

enum { SCREEN_WIDTH = 160, ROW_BYTES = 20 };

// ---- packed2

static const uint8_t *bytes_of(struct golden_case *c, const char *name, int64_t n) {
    const struct golden_tensor *t = case_tensor(c, name);
    if (t && t->t->dtype == ST_U8 && t->t->n_elements == n) return t->t->data;
    case_fail(c, "%s is no tensor of %lld bytes", name, (long long)n);
    return NULL;
}

// Runs g_unpack2 on n rows of bytes; the result lives until case_end.
static const real *unpack(struct golden_case *c, const uint8_t *bytes, int64_t n, int64_t height,
                          int64_t width) {
    case_begin(c);
    struct tensor *packed =
        g_input(c->graph, "packed", DTYPE_U8, 2, (int64_t[]){n, height * width / 4});
    struct tensor *image = g_unpack2(c->graph, packed, height, width);
    graph_keep(c->graph, image);
    case_plan(c);
    memcpy(packed->data, bytes, (size_t)packed->n_elements);
    case_execute(c);
    return image->data;
}

void golden_packed2_lut(struct golden_case *c) {
    enum { BYTES = 256 };
    const uint8_t *bytes = bytes_of(c, "byte", BYTES), *shades = bytes_of(c, "shade", 4 * BYTES);
    if (c->failed) return;
    const real *x = unpack(c, bytes, BYTES, 1, 4);
    real mine[4 * BYTES];
    for (int i = 0; i < 4 * BYTES; i++) mine[i] = (real)round(((double)x[i] + 0.5) * 3);
    case_match(c, "shade", mine, 4 * BYTES);
    for (int b = 0; b < BYTES && !c->failed; b++) {
        uint8_t screen[SCREEN_WIDTH] = {0}, row[ROW_BYTES]; // every second pixel is kept
        for (int k = 0; k < 4; k++) screen[2 * k] = shades[4 * b + k];
        gb_obs_pack_row(screen, row);
        if (row[0] != bytes[b])
            case_fail(c, "packing the shades of byte %d gives %d", bytes[b], row[0]);
    }
}

void golden_packed2_norm(struct golden_case *c) {
    const uint8_t *shades = bytes_of(c, "shade", 4);
    if (c->failed) return;
    uint8_t byte = (uint8_t)(shades[0] | shades[1] << 2 | shades[2] << 4 | shades[3] << 6);
    const real *x = unpack(c, &byte, 1, 1, 4);
    case_match(c, "value", x, 4);
    double bits[4];
    for (int i = 0; i < 4; i++) {
        float value = (float)x[i];
        uint32_t word;
        memcpy(&word, &value, sizeof word);
        bits[i] = word;
    }
    case_match_f64(c, "bits", bits, 4);
}

void golden_packed2_frame(struct golden_case *c) {
    enum { ROWS = 6 };
    const uint8_t *screen = bytes_of(c, "screen", 144 * SCREEN_WIDTH);
    const uint8_t *batch = bytes_of(c, "batch_packed", ROWS * WM_PACKED_BYTES);
    if (c->failed) return;
    uint8_t packed[WM_PACKED_BYTES];
    real *mine = mem_alloc(WM_PIXELS * sizeof *mine);
    for (int y = 0; y < WM_HEIGHT; y++)
        gb_obs_pack_row(screen + 2 * y * SCREEN_WIDTH, packed + y * ROW_BYTES);
    for (int i = 0; i < WM_PACKED_BYTES; i++) mine[i] = packed[i];
    case_match(c, "packed", mine, WM_PACKED_BYTES);
    for (int i = 0; i < WM_PIXELS; i++) mine[i] = gb_obs_pixel(packed, i % WM_WIDTH, i / WM_WIDTH);
    case_match(c, "pixels", mine, WM_PIXELS);
    free(mine);
    if (!c->failed)
        case_match(c, "batch_value", unpack(c, batch, ROWS, WM_HEIGHT, WM_WIDTH), ROWS * WM_PIXELS);
}

// ---- symlog, two-hot

// symexp through its only user, the mean of a two-hot distribution: row i has all its mass on bin i
// = y_i.
static void match_symexp(struct golden_case *c, const char *name, const real *y, int64_t n) {
    case_begin(c);
    struct tensor *logits = g_input(c->graph, "logits", DTYPE_REAL, 2, (int64_t[]){n, n});
    struct tensor *bins = g_input(c->graph, "bins", DTYPE_REAL, 1, &n);
    case_value(c, name, g_twohot_mean(c->graph, logits, bins));
    case_plan(c);
    memcpy(bins->data, y, (size_t)n * sizeof *y);
    for (int64_t i = 0; i < n * n; i++) ((real *)logits->data)[i] = i % (n + 1) ? -1000 : 0;
    case_execute(c);
    case_compare(c);
    case_end(c);
}

void golden_symlog_symexp(struct golden_case *c) {
    int64_t n = case_dim(c, "x", 0), n_y = case_dim(c, "y", 0);
    const real *y = case_reals(c, "y", n_y);
    if (c->failed) return;
    case_begin(c);
    struct tensor *symlog = g_symlog(c->graph, case_input(c, "x", 1, &n));
    case_value(c, "symlog", symlog);
    case_run(c);
    real *values = mem_alloc((size_t)n * sizeof *values);
    memcpy(values, symlog->data, (size_t)n * sizeof *values);
    case_end(c);
    match_symexp(c, "symexp", y, n_y);
    match_symexp(c, "round_trip", values, n);
    free(values);
}

void golden_twohot_bins(struct golden_case *c) {
    real bins[255];
    nn_twohot_bins(bins, 255);
    case_match(c, "bins", bins, 255);
    for (int i = 0; i < 255; i++)
        if (bins[i] != -bins[254 - i])
            case_fail(c, "bins %d and %d are not antisymmetric", i, 254 - i);
    nn_twohot_bins(bins, 7);
    case_match(c, "bins7", bins, 7);
}

// The dense weights q of a target, read off the gradient at equal logits: softmax - q = 1/K - q.
static void match_weights(struct golden_case *c, const char *from, const char *to, bool squashed) {
    int64_t n = case_dim(c, from, 0), n_bins = 255;
    const real *targets = case_reals(c, from, n);
    if (c->failed) return;
    case_begin(c);
    struct tensor *logits = g_input(c->graph, "logits", DTYPE_REAL, 2, (int64_t[]){n, n_bins});
    struct tensor *target = g_input(c->graph, "target", DTYPE_REAL, 1, &n);
    struct tensor *bins = g_input(c->graph, "bins", DTYPE_REAL, 1, &n_bins);
    graph_want_gradient(c->graph, logits);
    graph_keep(c->graph, logits);
    struct tensor *mean = g_mean(c->graph, g_twohot_nll(c->graph, logits, target, bins));
    case_add_loss(c, g_affine(c->graph, mean, (real)n, 0));
    case_plan(c);
    case_bins(c, bins);
    // the op squashes, so what is squashed is expanded first
    for (int64_t i = 0; i < n; i++) {
        double x = (double)targets[i];
        ((real *)target->data)[i] = (real)(squashed ? copysign(expm1(fabs(x)), x) : x);
    }
    case_execute(c);
    real *q = mem_alloc((size_t)(n * n_bins) * sizeof *q);
    for (int64_t i = 0; i < n * n_bins; i++)
        q[i] = (real)1 / (real)n_bins - ((const real *)logits->grad->data)[i];
    case_match(c, to, q, n * n_bins);
    free(q);
    case_end(c);
}

void golden_twohot_weights(struct golden_case *c) {
    match_weights(c, "target", "q", false);
    match_weights(c, "y", "q_y", true);
}

void golden_twohot_logprob(struct golden_case *c) {
    int64_t n = case_dim(c, "logits", 0) * case_dim(c, "logits", 1),
            n_bins = case_dim(c, "logits", 2);
    case_begin(c);
    struct tensor *logits = case_input(c, "logits", 2, (int64_t[]){n, n_bins});
    struct tensor *target = case_input(c, "target", 1, &n);
    struct tensor *bins = g_input(c->graph, "bins", DTYPE_REAL, 1, &n_bins);
    struct tensor *log_prob =
        g_affine(c->graph, g_twohot_nll(c->graph, logits, target, bins), -1, 0);
    case_value(c, "log_prob", log_prob);
    case_upstream(c, log_prob, "dlog_prob");
    case_gradient(c, "dlogits", logits);
    case_plan(c);
    case_bins(c, bins);
    case_execute(c);
    case_compare(c);
}

void golden_twohot_mean(struct golden_case *c) {
    int64_t n = case_dim(c, "logits", 0), n_extreme = case_dim(c, "extreme_logits", 0),
            n_bins = case_dim(c, "logits", 1);
    case_begin(c);
    struct tensor *logits = case_input(c, "logits", 2, (int64_t[]){n, n_bins});
    struct tensor *extreme = case_input(c, "extreme_logits", 2, (int64_t[]){n_extreme, n_bins});
    struct tensor *bins = g_input(c->graph, "bins", DTYPE_REAL, 1, &n_bins);
    struct tensor *mean = g_twohot_mean(c->graph, logits, bins);
    case_value(c, "mean", mean);
    case_value(c, "extreme_mean", g_twohot_mean(c->graph, extreme, bins));
    case_upstream(c, mean, "dmean");
    case_gradient(c, "dlogits", logits);
    case_plan(c);
    case_bins(c, bins);
    case_execute(c);
    case_compare(c);
}

// ---- LayerNorm, convolutions

static void norm_parameters(struct golden_case *c) {
    case_param(c, "weight", "norm.weight");
    case_param(c, "bias", "norm.bias");
    case_begin(c);
}

static void norm_gradients(struct golden_case *c, struct tensor *x) {
    case_gradient(c, "dx", x);
    case_param_gradient(c, "dweight", "norm.weight");
    case_param_gradient(c, "dbias", "norm.bias");
}

void golden_layer_norm(struct golden_case *c) {
    int64_t shape[2] = {case_dim(c, "x", 0), case_dim(c, "x", 1)};
    norm_parameters(c);
    struct tensor *x = case_input(c, "x", 2, shape);
    struct tensor *y = nn_norm(&c->nn, "norm", x, c->nn.dense_eps, ACT_NONE);
    case_value(c, "y", y);
    case_upstream(c, y, "dy");
    norm_gradients(c, x);
    case_run(c);
}

void golden_channel_norm(struct golden_case *c) {
    int64_t n = case_dim(c, "x", 0), channels = case_dim(c, "x", 1), h = case_dim(c, "x", 2),
            w = case_dim(c, "x", 3);
    norm_parameters(c);
    struct tensor *x = case_input(c, "x", 2, (int64_t[]){n, channels * h * w});
    struct tensor *image = g_chw_to_hwc(c->graph, x, h, w, channels);
    struct tensor *y = case_flat(c, nn_norm(&c->nn, "norm", image, c->nn.conv_eps, ACT_NONE));
    case_value(c, "y", y);
    case_upstream(c, y, "dy");
    norm_gradients(c, x);
    case_run(c);
}

// x, w, y, dy, dx, dw under a prefix; b and db where the fixture has them.
static void convolution(struct golden_case *c, const char *prefix, bool transposed) {
    enum { X, W, B, Y, DY, DX, DW, DB, N_NAMES };
    static const char *const suffix[N_NAMES] = {"x", "w", "b", "y", "dy", "dx", "dw", "db"};
    char name[N_NAMES][ST_NAME_SIZE];
    for (int i = 0; i < N_NAMES; i++) snprintf(name[i], sizeof name[i], "%s%s", prefix, suffix[i]);
    int64_t n = case_dim(c, name[X], 0), channels = case_dim(c, name[X], 1);
    int64_t h = case_dim(c, name[X], 2), w = case_dim(c, name[X], 3);
    case_param(c, name[W], "w");
    if (transposed) case_param(c, name[B], "b");
    case_begin(c);
    if (c->failed) return;
    struct tensor *x = case_input(c, name[X], 2, (int64_t[]){n, channels * h * w});
    struct tensor *image = g_chw_to_hwc(c->graph, x, h, w, channels);
    struct tensor *weight = g_param(c->graph, &c->params, "w");
    struct tensor *out = transposed
                             ? g_deconv(c->graph, image, weight, g_param(c->graph, &c->params, "b"))
                             : g_conv(c->graph, image, weight);
    struct tensor *y = case_flat(c, out);
    case_value(c, name[Y], y);
    case_upstream(c, y, name[DY]);
    case_gradient(c, name[DX], x);
    case_param_gradient(c, name[DW], "w");
    if (transposed) case_param_gradient(c, name[DB], "b");
    case_run(c);
    case_end(c);
}

void golden_conv(struct golden_case *c) {
    convolution(c, "small.", false);
    convolution(c, "large.", false);
}

void golden_deconv(struct golden_case *c) { convolution(c, "", true); }

// ---- image encoder and decoder

void golden_encoder(struct golden_case *c) {
    int64_t rows = case_dim(c, "packed", 0) * case_dim(c, "packed", 1);
    const uint8_t *bytes = bytes_of(c, "packed", rows * WM_PACKED_BYTES);
    case_params(c, "param.");
    case_begin(c);
    if (c->failed) return;
    struct tensor *packed =
        g_input(c->graph, "packed", DTYPE_U8, 2, (int64_t[]){rows, WM_PACKED_BYTES});
    struct tensor *image = g_unpack2(c->graph, packed, WM_HEIGHT, WM_WIDTH);
    struct tensor *flat = nn_conv_encoder(&c->nn, "encoder.cnn_encoder.model.0._model", image);
    case_value(c, "flat", flat);
    case_upstream(c, flat, "dflat");
    case_param_gradients(c, "grad.");
    case_plan(c);
    memcpy(packed->data, bytes, (size_t)packed->n_elements);
    case_execute(c);
    case_compare(c);
}

void golden_decoder(struct golden_case *c) {
    int64_t rows = case_dim(c, "latent", 0) * case_dim(c, "latent", 1),
            width = case_dim(c, "latent", 2);
    int64_t core_channels =
        case_dim(c, "param.observation_model.cnn_decoder.model.2._model.0.weight", 0);
    case_params(c, "param.");
    case_begin(c);
    if (c->failed) return;
    struct tensor *latent = case_input(c, "latent", 2, (int64_t[]){rows, width});
    struct tensor *core =
        nn_linear(&c->nn, "observation_model.cnn_decoder.model.0", &latent, 1, 0, NULL);
    struct tensor *image = nn_conv_decoder(&c->nn, "observation_model.cnn_decoder.model.2._model",
                                           core, core_channels >> (NN_CONV_STAGES - 1));
    struct tensor *flat = case_flat(c, image);
    case_value(c, "image", flat);
    case_upstream(c, flat, "dimage");
    case_gradient(c, "dlatent", latent);
    case_param_gradients(c, "grad.");
    case_run(c);
}

// ---- vector encoder and decoder

// The fixture's parameters as a model of n_vectors keys.
static struct wm_net vector_net(struct golden_case *c, int n_vectors) {
    struct wm_net net = {.nn = c->nn, .dims = {.n_vectors = n_vectors, .n_layers = 2}};
    return net;
}

static struct tensor *rows_of(struct golden_case *c, const char *name, int64_t rows) {
    return case_input(c, name, 2, (int64_t[]){rows, case_dim(c, name, 2)});
}

void golden_vector_encoder(struct golden_case *c) {
    int64_t rows = case_dim(c, "senses", 0) * case_dim(c, "senses", 1);
    case_params(c, "param.");
    case_begin(c);
    if (c->failed) return;
    struct wm_net net = vector_net(c, 2);
    struct tensor *keys[2] = {rows_of(c, "senses", rows), rows_of(c, "events", rows)};
    struct tensor *out = wm_encode_vectors(&net, keys, 2);
    case_value(c, "out", out);
    case_upstream(c, out, "dout");
    case_param_gradients(c, "grad.");
    case_run(c);
}

void golden_vector_decoder(struct golden_case *c) {
    int64_t rows = case_dim(c, "latent", 0) * case_dim(c, "latent", 1);
    case_params(c, "param.");
    case_begin(c);
    if (c->failed) return;
    struct wm_net net = vector_net(c, 2);
    struct tensor *latent = rows_of(c, "latent", rows), *out[2];
    wm_decode_vectors(&net, &latent, 1, out);
    case_value(c, "out.senses", out[0]);
    case_value(c, "out.extra", out[1]);
    case_upstream(c, out[0], "dout.senses");
    case_upstream(c, out[1], "dout.extra");
    case_gradient(c, "dlatent", latent);
    case_param_gradients(c, "grad.");
    case_run(c);
}
