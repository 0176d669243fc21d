// PPO's network: parameters, first values, nodes.
#include "engine/algo/ppo/ppo_net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/philox.h"
#include "engine/nn/init.h"
#include "engine/nn/layers.h"

struct conv_spec {
    const char *name;
    int64_t channels, kernel, stride;
};
static const struct conv_spec convs[PPO_N_CONVS] = {
    {"conv1", 32, 8, 4}, {"conv2", 64, 4, 2}, {"conv3", 64, 3, 1}};

static int64_t flat_size(void) {
    int64_t h = PPO_HEIGHT, w = PPO_WIDTH;
    for (int i = 0; i < PPO_N_CONVS; i++) {
        h = (h - convs[i].kernel) / convs[i].stride + 1;
        w = (w - convs[i].kernel) / convs[i].stride + 1;
    }
    return h * w * convs[PPO_N_CONVS - 1].channels;
}

static const char *parameter(const char *layer, const char *what, char name[PARAM_NAME_SIZE]) {
    snprintf(name, PARAM_NAME_SIZE, "%s.%s", layer, what);
    return name;
}

void ppo_net_register(struct params *p, const struct ppo_dims *dims) {
    char name[PARAM_NAME_SIZE];
    int64_t in = dims->stack;
    for (int i = 0; i < PPO_N_CONVS; i++) {
        const struct conv_spec *c = &convs[i];
        params_add(p, parameter(c->name, "weight", name), 4,
                   (int64_t[]){c->channels, in, c->kernel, c->kernel});
        params_add(p, parameter(c->name, "bias", name), 1, (int64_t[]){c->channels});
        in = c->channels;
    }
    nn_add_linear(p, "fc", flat_size(), PPO_HIDDEN, true);
    nn_add_linear(p, "policy", PPO_HIDDEN, dims->n_actions, true);
    nn_add_linear(p, "value", PPO_HIDDEN, 1, true);
}

// ---- first values

static double normal(uint64_t seed, uint64_t stream, uint32_t element) {
    struct philox r = rng_block(seed, RNG_INIT, stream, element);
    double u = (r.v[0] + 0.5) * 0x1p-32;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * (r.v[1] * 0x1p-32));
}

// Eight sums side by side, so that the compiler can use vectors.
static double dot(const double *a, const double *b, int64_t n) {
    double sum[8] = {0}, rest = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) sum[k] += a[i + k] * b[i + k];
    for (; i < n; i++) rest += a[i] * b[i];
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7])) + rest;
}

static void subtract(double *restrict row, const double *restrict from, double times, int64_t n) {
    for (int64_t j = 0; j < n; j++) row[j] -= times * from[j];
}

// Rows [rows][columns] of independent normals made orthonormal one after the other (modified
// Gram-Schmidt).
static void orthonormal_rows(double *m, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++) {
        double *row = m + i * columns;
        for (int64_t k = 0; k < i; k++) {
            subtract(row, m + k * columns, dot(row, m + k * columns, columns), columns);
        }
        const double scale = 1 / sqrt(dot(row, row, columns));
        for (int64_t j = 0; j < columns; j++) row[j] *= scale;
    }
}

// Orthogonal rows, or orthogonal columns where there are more rows than columns.
static void init_orthogonal(real *w, const struct param *q, double gain, uint64_t seed) {
    int64_t rows = q->shape[0], columns = q->n_elements / rows;
    const bool tall = rows > columns;
    const int64_t a = tall ? columns : rows, b = tall ? rows : columns;
    double *m = mem_alloc((size_t)(a * b) * sizeof *m);
    const uint64_t stream = init_stream(q->name);
    for (int64_t i = 0; i < a * b; i++) m[i] = normal(seed, stream, (uint32_t)i);
    orthonormal_rows(m, a, b);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            w[i * columns + j] = (real)(gain * (tall ? m[j * rows + i] : m[i * columns + j]));
    free(m);
}

static double gain_of(const char *name) {
    return strncmp(name, "policy.", 7) == 0 ? 0.01 : strncmp(name, "value.", 6) == 0 ? 1 : sqrt(2);
}

// Weights and their bias come in this order, so a bias knows the fan-in of the weights before it.
void ppo_net_init(struct params *p, uint64_t seed, enum ppo_init kind) {
    int64_t fan_in = 1;
    for (int i = 0; i < p->n; i++) {
        const struct param *q = &p->list[i];
        real *w = params_weights(p, q);
        if (q->n_dims > 1) fan_in = q->n_elements / q->shape[0];
        if (kind == PPO_INIT_UNIFORM)
            init_uniform(w, q->n_elements, 1 / sqrt((double)fan_in), seed, init_stream(q->name));
        else if (q->n_dims > 1)
            init_orthogonal(w, q, gain_of(q->name), seed);
        else
            memset(w, 0, (size_t)q->n_elements * sizeof *w);
    }
}

// ---- nodes

static struct tensor *conv_layer(struct graph *g, struct params *p, int i, struct tensor *x) {
    char name[PARAM_NAME_SIZE];
    struct tensor *w = g_param(g, p, parameter(convs[i].name, "weight", name));
    struct tensor *b = g_param(g, p, parameter(convs[i].name, "bias", name));
    if (i == 0) w = g_affine(g, w, (real)(1.0 / 3.0), 0);
    struct tensor *y = g_relu(g, g_conv_valid(g, x, w, b, convs[i].stride));
    graph_name(g, y, convs[i].name);
    return y;
}

struct ppo_net ppo_net_build(struct graph *g, struct params *p, struct tensor *stacks) {
    struct ppo_net net;
    struct nn nn = {.graph = g, .params = p};
    struct tensor *x = g_unpack_stack(g, stacks, PPO_HEIGHT, PPO_WIDTH);
    for (int i = 0; i < PPO_N_CONVS; i++) x = net.conv[i] = conv_layer(g, p, i, x);
    struct tensor *flat = g_hwc_to_chw(g, x);
    net.fc = g_relu(g, nn_linear(&nn, "fc", &flat, 1, 0, NULL));
    graph_name(g, net.fc, "fc");
    net.logits = nn_linear(&nn, "policy", &net.fc, 1, 0, NULL);
    graph_name(g, net.logits, "logits");
    net.values = nn_linear(&nn, "value", &net.fc, 1, 0, NULL);
    graph_name(g, net.values, "values");
    return net;
}
