// Block-diagonal layers: forward, gradient, memory, threads; in a time loop, beside dense columns.
#include "support/grad_check.h"

enum { ROWS = 6, BLOCKS = 4, IN = 12, OUT = 20, COLUMN = 2, COLUMNS = 9 };
enum { IN_1 = IN / BLOCKS, OUT_1 = OUT / BLOCKS };

static void block_of(const double *x, const double *w, double *y, int rows, int in, int out,
                     int blocks, int columns, int column) {
    for (int i = 0; i < rows; i++)
        for (int o = 0; o < out; o++)
            for (int k = 0; k < in / blocks; k++)
                y[i * out + o] += x[i * in + o / (out / blocks) * (in / blocks) + k] *
                                  w[o * columns + column + k];
}

static const struct leaf layer[] = {{"x", 2, {ROWS, IN}, -1, 1, false},
                                    {"w", 2, {OUT, COLUMNS}, -1, 1, false},
                                    {"bias", 1, {OUT}, -1, 1, false},
                                    {"addend", 2, {ROWS, OUT}, -1, 1, false}};
static struct tensor *layer_build(struct graph *g, struct tensor **leaf) {
    return g_block_linear(g, leaf[0], leaf[1], leaf[2], leaf[3], COLUMN, BLOCKS);
}
static void layer_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS * OUT; i++) y[i] = leaf[2][i % OUT] + leaf[3][i];
    block_of(leaf[0], leaf[1], y, ROWS, IN, OUT, BLOCKS, COLUMNS, COLUMN);
}
static struct tensor *bare_build(struct graph *g, struct tensor **leaf) {
    return g_block_linear(g, leaf[0], leaf[1], NULL, NULL, 0, BLOCKS);
}
static void bare_reference(const double *const *leaf, double *y) {
    memset(y, 0, ROWS * OUT * sizeof *y);
    block_of(leaf[0], leaf[1], y, ROWS, IN, OUT, BLOCKS, IN_1, 0);
}

static void each_block_sees_its_inputs_alone(void **state) {
    (void)state;
    static const struct leaf bare[] = {{"x", 2, {ROWS, IN}, -1, 1, false},
                                       {"w", 2, {OUT, IN_1}, -1, 1, false}};
    grad_check(&(struct grad_case){layer, 4, layer_build, layer_reference, 0, 0, false});
    grad_check(&(struct grad_case){bare, 2, bare_build, bare_reference, 0, 0, false});
}

// The sizes of a real model: whole vectors, several shares to a block.
enum { BIG_ROWS = 130, BIG_IN = 256, BIG_OUT = 768, BIG_BLOCKS = 8 };
static struct tensor *big_build(struct graph *g, struct tensor **leaf) {
    return g_block_linear(g, leaf[0], leaf[1], leaf[2], NULL, 0, BIG_BLOCKS);
}
static void big_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < BIG_ROWS * BIG_OUT; i++) y[i] = leaf[2][i % BIG_OUT];
    block_of(leaf[0], leaf[1], y, BIG_ROWS, BIG_IN, BIG_OUT, BIG_BLOCKS, BIG_IN / BIG_BLOCKS, 0);
}
static void big_layers_are_cut_into_shares(void **state) {
    (void)state;
    static const struct leaf big[] = {{"x", 2, {BIG_ROWS, BIG_IN}, -1, 1, false},
                                      {"w", 2, {BIG_OUT, BIG_IN / BIG_BLOCKS}, -1, 1, false},
                                      {"bias", 1, {BIG_OUT}, -1, 1, false}};
    grad_check(&(struct grad_case){big, 3, big_build, big_reference, 3e-6, 0, false});
}

// One block is an ordinary layer.
static struct tensor *one_build(struct graph *g, struct tensor **leaf) {
    struct tensor *dense = g_linear(g, leaf[0], leaf[1], leaf[2], NULL, 0);
    struct tensor *block = g_block_linear(g, leaf[0], leaf[1], leaf[2], NULL, 0, 1);
    return g_add(g, dense, g_affine(g, block, -1, 0));
}
static void zero_reference(const double *const *leaf, double *y) {
    (void)leaf;
    memset(y, 0, ROWS * OUT * sizeof *y);
}
static void one_block_is_an_ordinary_layer(void **state) {
    (void)state;
    static const struct leaf one[] = {{"x", 2, {ROWS, IN}, -1, 1, false},
                                      {"w", 2, {OUT, IN}, -1, 1, false},
                                      {"bias", 1, {OUT}, -1, 1, false}};
    grad_check(&(struct grad_case){one, 3, one_build, zero_reference, 1e-5, 0, true});
}

// The recurrence of the official profile: dense columns beside blocks of one matrix, a norm, gates
// per block; the state is read by several nodes and written into a stack.
enum { B = 3, T = 4, G = 2, H = 8, U = 5 };
static struct tensor *core_build(struct graph *g, struct tensor **leaf) {
    struct tensor *h = g_tanh(g, leaf[0]), *all[T];
    for (int t = 0; t < T; t++) {
        struct tensor *in = g_layer_norm(g, g_linear(g, h, leaf[2], NULL, NULL, 0), leaf[6], NULL,
                                         (real)1e-4, ACT_SILU);
        struct tensor *y = g_linear(g, in, leaf[3], NULL, g_slice(g, leaf[1], t * B, B), H / G);
        y = g_block_linear(g, h, leaf[3], NULL, y, 0, G);
        y = g_layer_norm(g, y, leaf[4], NULL, (real)1e-4, ACT_SILU);
        h = all[t] = g_gru_gates_blocks(g, g_block_linear(g, y, leaf[5], NULL, NULL, 0, G), h, G);
    }
    return g_stack(g, all, T);
}

static void rms(double *x, const double *gamma, int n) {
    double square = 0;
    for (int i = 0; i < n; i++) square += x[i] * x[i] / n;
    for (int i = 0; i < n; i++) {
        double z = x[i] / sqrt(square + 1e-4) * gamma[i];
        x[i] = z / (1 + exp(-z));
    }
}

static void core_reference(const double *const *leaf, double *out) {
    for (int b = 0; b < B; b++) {
        double h[H];
        for (int i = 0; i < H; i++) h[i] = tanh(leaf[0][b * H + i]);
        for (int t = 0; t < T; t++) {
            double in[U], y[H], gates[3 * H];
            for (int j = 0; j < U; j++) {
                in[j] = 0;
                for (int i = 0; i < H; i++) in[j] += h[i] * leaf[2][j * H + i];
            }
            rms(in, leaf[6], U);
            for (int o = 0; o < H; o++) {
                const double *w = leaf[3] + o * (H / G + U);
                y[o] = leaf[1][(t * B + b) * H + o];
                for (int i = 0; i < H / G; i++) y[o] += w[i] * h[o / (H / G) * (H / G) + i];
                for (int j = 0; j < U; j++) y[o] += w[H / G + j] * in[j];
            }
            rms(y, leaf[4], H);
            for (int o = 0; o < 3 * H; o++) {
                gates[o] = 0;
                for (int i = 0; i < H / G; i++)
                    gates[o] += leaf[5][o * (H / G) + i] * y[o / (3 * H / G) * (H / G) + i];
            }
            for (int i = 0; i < H; i++) {
                const double *p = gates + i / (H / G) * (3 * H / G) + i % (H / G);
                double c = tanh(p[H / G] / (1 + exp(-p[0])));
                double u = 1 / (1 + exp(1 - p[2 * H / G]));
                h[i] = u * c + (1 - u) * h[i];
                out[(t * B + b) * H + i] = h[i];
            }
        }
    }
}

static void the_block_recurrence_matches_its_formula_and_gradient(void **state) {
    (void)state;
    static const struct leaf leaves[] = {
        {"h", 2, {B, H}, -1, 1, false},       {"actions", 2, {T * B, H}, -1, 1, false},
        {"in", 2, {U, H}, -1, 1, false},      {"hidden", 2, {H, H / G + U}, -1, 1, false},
        {"norm", 1, {H}, 0.5, 1.5, false},    {"gates", 2, {3 * H, H / G}, -1, 1, false},
        {"in_norm", 1, {U}, 0.5, 1.5, false},
    };
    grad_check(&(struct grad_case){leaves, 7, core_build, core_reference, 3e-6, 2e-7, false});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_block_sees_its_inputs_alone),
        cmocka_unit_test(big_layers_are_cut_into_shares),
        cmocka_unit_test(one_block_is_an_ordinary_layer),
        cmocka_unit_test(the_block_recurrence_matches_its_formula_and_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
