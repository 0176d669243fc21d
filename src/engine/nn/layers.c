// Layers of the Dreamer networks: names, shapes and nodes.
#include "engine/nn/layers.h"

#include <math.h>
#include <stdio.h>

#include "base/error.h"

enum { NAME_SIZE = PARAM_NAME_SIZE, TAPS = 4, CORE_HEIGHT = 9, CORE_WIDTH = 10 };

static const char *join(char out[NAME_SIZE], const char *format, const char *model, int index) {
    int n = snprintf(out, NAME_SIZE, format, model, index);
    CHECK(n > 0 && n < NAME_SIZE, "parameter name of %s is too long", model);
    return out;
}

void nn_add_linear(struct params *p, const char *name, int64_t in, int64_t out, bool bias) {
    char full[NAME_SIZE];
    params_add(p, join(full, "%s.weight", name, 0), 2, (int64_t[]){out, in});
    if (bias) params_add(p, join(full, "%s.bias", name, 0), 1, (int64_t[]){out});
}

void nn_add_norm(struct params *p, enum nn_norm norm, const char *name, int64_t n) {
    char full[NAME_SIZE];
    params_add(p, join(full, "%s.weight", name, 0), 1, &n);
    if (norm == NN_LAYER_NORM) params_add(p, join(full, "%s.bias", name, 0), 1, &n);
}

void nn_add_mlp(struct params *p, enum nn_norm norm, const char *model, int64_t in, int64_t units,
                int n_layers, int64_t out) {
    char name[NAME_SIZE];
    for (int k = 0; k < n_layers; k++) {
        nn_add_linear(p, join(name, "%s.%d", model, 3 * k), k == 0 ? in : units, units,
                      norm == NN_RMS_NORM);
        nn_add_norm(p, norm, join(name, "%s.%d", model, 3 * k + 1), units);
    }
    if (out)
        nn_add_linear(p, join(name, "%s.%d", model, 3 * n_layers), n_layers == 0 ? in : units, out,
                      true);
}

void nn_add_conv_encoder(struct params *p, const char *model, int64_t in_channels,
                         int64_t multiplier) {
    char name[NAME_SIZE];
    int64_t in = in_channels;
    for (int i = 0; i < NN_CONV_STAGES; i++) {
        int64_t out = multiplier << i;
        params_add(p, join(name, "%s.%d.weight", model, 3 * i), 4,
                   (int64_t[]){out, in, TAPS, TAPS});
        nn_add_norm(p, NN_LAYER_NORM, join(name, "%s.%d", model, 3 * i + 1), out);
        in = out;
    }
}

void nn_add_conv_decoder(struct params *p, const char *model, int64_t multiplier,
                         int64_t out_channels) {
    char name[NAME_SIZE];
    for (int i = 0; i < NN_CONV_STAGES; i++) {
        bool last = i == NN_CONV_STAGES - 1;
        int64_t in = multiplier << (NN_CONV_STAGES - 1 - i), out = last ? out_channels : in / 2;
        params_add(p, join(name, "%s.%d.weight", model, 3 * i), 4,
                   (int64_t[]){in, out, TAPS, TAPS});
        if (last)
            params_add(p, join(name, "%s.%d.bias", model, 3 * i), 1, &out);
        else
            nn_add_norm(p, NN_LAYER_NORM, join(name, "%s.%d", model, 3 * i + 1), out);
    }
}

static struct tensor *probed(const struct nn *nn, const char *submodule, struct tensor *output) {
    if (nn->probe) nn->probe(nn->probe_ctx, submodule, output);
    return output;
}

static struct tensor *param(const struct nn *nn, const char *name) {
    struct tensor *t = g_param(nn->graph, nn->params, name);
    return nn->frozen ? g_stop_gradient(nn->graph, t) : t;
}

static struct tensor *param_or_null(const struct nn *nn, const char *name) {
    return params_find(nn->params, name) ? param(nn, name) : NULL;
}

struct tensor *nn_linear(const struct nn *nn, const char *name, struct tensor *const *parts,
                         int n_parts, int64_t column, struct tensor *addend) {
    char full[NAME_SIZE];
    struct tensor *w = param(nn, join(full, "%s.weight", name, 0));
    struct tensor *bias = addend ? NULL : param_or_null(nn, join(full, "%s.bias", name, 0));
    struct tensor *y = addend;
    for (int i = 0; i < n_parts; i++) {
        y = g_linear(nn->graph, parts[i], w, i == 0 ? bias : NULL, y, column);
        column += parts[i]->shape[1];
    }
    graph_name(nn->graph, y, name);
    return probed(nn, name, y);
}

struct tensor *nn_block_linear(const struct nn *nn, const char *name, struct tensor *x,
                               int64_t blocks, struct tensor *addend) {
    char full[NAME_SIZE];
    struct tensor *w = param(nn, join(full, "%s.weight", name, 0));
    struct tensor *bias = addend ? NULL : param_or_null(nn, join(full, "%s.bias", name, 0));
    struct tensor *y = g_block_linear(nn->graph, x, w, bias, addend, 0, blocks);
    graph_name(nn->graph, y, name);
    return probed(nn, name, y);
}

struct tensor *nn_norm(const struct nn *nn, const char *name, struct tensor *x, real eps,
                       enum activation act) {
    char full[NAME_SIZE];
    struct tensor *gamma = param(nn, join(full, "%s.weight", name, 0));
    struct tensor *beta = param_or_null(nn, join(full, "%s.bias", name, 0));
    struct tensor *y = g_layer_norm(nn->graph, x, gamma, beta, eps, act);
    graph_name(nn->graph, y, name);
    return y;
}

struct tensor *nn_hidden(const struct nn *nn, const char *model, int k, struct tensor *const *parts,
                         int n_parts, int64_t column, struct tensor *addend) {
    char name[NAME_SIZE];
    struct tensor *y =
        nn_linear(nn, join(name, "%s.%d", model, 3 * k), parts, n_parts, column, addend);
    y = nn_norm(nn, join(name, "%s.%d", model, 3 * k + 1), y, nn->dense_eps, ACT_SILU);
    return probed(nn, join(name, "%s.%d", model, 3 * k + 2), y);
}

struct tensor *nn_output(const struct nn *nn, const char *model, int k, struct tensor *x) {
    char name[NAME_SIZE];
    return nn_linear(nn, join(name, "%s.%d", model, 3 * k), &x, 1, 0, NULL);
}

struct tensor *nn_mlp(const struct nn *nn, const char *model, struct tensor *const *parts,
                      int n_parts, int n_layers, bool output) {
    struct tensor *x = NULL;
    for (int k = 0; k < n_layers; k++)
        x = nn_hidden(nn, model, k, k == 0 ? parts : &x, k == 0 ? n_parts : 1, 0, NULL);
    return output ? nn_output(nn, model, n_layers, x) : x;
}

struct tensor *nn_conv_encoder(const struct nn *nn, const char *model, struct tensor *image) {
    char name[NAME_SIZE];
    struct tensor *x = image;
    for (int i = 0; i < NN_CONV_STAGES; i++) {
        x = g_conv(nn->graph, x, param(nn, join(name, "%s.%d.weight", model, 3 * i)));
        graph_name(nn->graph, x, join(name, "%s.%d", model, 3 * i));
        probed(nn, name, x);
        x = nn_norm(nn, join(name, "%s.%d", model, 3 * i + 1), x, nn->conv_eps, ACT_SILU);
        probed(nn, join(name, "%s.%d", model, 3 * i + 2), x);
    }
    return g_hwc_to_chw(nn->graph, x);
}

struct tensor *nn_conv_decoder(const struct nn *nn, const char *model, struct tensor *core,
                               int64_t multiplier) {
    char name[NAME_SIZE];
    struct tensor *x =
        g_chw_to_hwc(nn->graph, core, CORE_HEIGHT, CORE_WIDTH, multiplier << (NN_CONV_STAGES - 1));
    for (int i = 0; i < NN_CONV_STAGES; i++) {
        bool last = i == NN_CONV_STAGES - 1;
        struct tensor *w = param(nn, join(name, "%s.%d.weight", model, 3 * i));
        x = g_deconv(nn->graph, x, w, param_or_null(nn, join(name, "%s.%d.bias", model, 3 * i)));
        graph_name(nn->graph, x, join(name, "%s.%d", model, 3 * i));
        probed(nn, name, x);
        if (last) break;
        // The decoder's channel norm takes the dense epsilon, as sheeprl's configuration does.
        x = nn_norm(nn, join(name, "%s.%d", model, 3 * i + 1), x, nn->dense_eps, ACT_SILU);
        probed(nn, join(name, "%s.%d", model, 3 * i + 2), x);
    }
    return x;
}

void nn_twohot_bins(real *bins, int64_t n) {
    // Counted from the middle, so that bin i and bin n-1-i are the same number with opposite signs.
    for (int64_t i = 0; i < n; i++)
        bins[i] = (real)(20.0 * (double)(2 * i - (n - 1)) / (double)(n - 1));
}

void nn_twohot_real_bins(real *bins, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const double y = 20.0 * (double)(2 * i - (n - 1)) / (double)(n - 1);
        bins[i] = (real)copysign(expm1(fabs(y)), y);
    }
}
