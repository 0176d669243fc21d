// Nodes computed inside others (fuse.c) in Dreamer's networks: the same bytes as when each makes
// its own result, and nothing that others read goes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/philox.h"
#include "base/pool.h"
#include "engine/graph/backend.h"
#include "engine/graph/node.h"

// conv c0 -> c1, norm, deconv c1 -> c2, norm, conv c2 -> c3, norm, deconv c3 -> c0, and its squared
// error, if the sizes are even; c0 0: one channel, from packed frames.
struct net_shape {
    int64_t n, height, width, c0, c1, c2, c3;
};

enum { N_CONVS = 4, N_NORMS = 3 };
static const char *const conv_names[N_CONVS] = {"w0", "w1", "w2", "w3"};
static const char *const gamma_names[N_NORMS] = {"gamma0", "gamma1", "gamma2"};
static const char *const beta_names[N_NORMS] = {"beta0", "beta1", "beta2"};

struct net {
    struct params params;
    struct graph *g;
    struct tensor *in, *image, *conv[N_CONVS], *norm[N_NORMS], *loss;
};

struct options {
    bool kept, bf16, rms, no_gradients;
    enum activation act;
};

static void add_params(struct params *p, const struct net_shape *s) {
    const int64_t in = s->c0 ? s->c0 : 1, small[N_CONVS] = {s->c1, s->c1, s->c3, s->c3},
                  big[N_CONVS] = {in, s->c2, s->c2, in}, norm[N_NORMS] = {s->c1, s->c2, s->c3};
    params_init(p);
    for (int i = 0; i < N_CONVS; i++)
        params_add(p, conv_names[i], 4, (int64_t[]){small[i], big[i], 4, 4});
    for (int i = 0; i < N_NORMS; i++) {
        params_add(p, gamma_names[i], 1, &norm[i]);
        params_add(p, beta_names[i], 1, &norm[i]);
    }
    params_add(p, "bias", 1, &in);
    params_allocate(p);
    for (int64_t k = 0; k < p->n_flat; k++)
        p->weights[k] = (real)rng_uniform(7, RNG_TEST, 0, (uint32_t)k) - (real)0.4;
}

static struct tensor *norm(struct net *t, int i, const struct options *o) {
    struct tensor *beta = o->rms ? NULL : g_param(t->g, &t->params, beta_names[i]);
    return g_layer_norm(t->g, t->conv[i], g_param(t->g, &t->params, gamma_names[i]), beta,
                        (real)1e-3, o->act);
}

static void keep_all(struct net *t) {
    graph_keep(t->g, t->image);
    for (int i = 0; i < N_CONVS; i++) graph_keep(t->g, t->conv[i]);
    for (int i = 0; i < N_NORMS; i++) graph_keep(t->g, t->norm[i]);
}

static void net_build(struct net *t, const struct net_shape *s, const struct options *o) {
    *t = (struct net){.g = graph_new()};
    add_params(&t->params, s);
    struct graph *g = t->g;
    if (o->bf16) graph_bf16(g, true);
    const int64_t shape[] = {s->n, s->height, s->width, s->c0},
                  frames[] = {s->n, s->height * s->width / 4};
    t->in = s->c0 ? g_input(g, "in", DTYPE_REAL, 4, shape) : g_input(g, "in", DTYPE_U8, 2, frames);
    t->image = s->c0 ? t->in : g_unpack2(g, t->in, s->height, s->width);
    struct tensor *w[N_CONVS];
    for (int i = 0; i < N_CONVS; i++) w[i] = g_param(g, &t->params, conv_names[i]);
    t->conv[0] = g_conv(g, t->image, w[0]);
    t->norm[0] = norm(t, 0, o);
    t->conv[1] = g_deconv(g, t->norm[0], w[1], NULL);
    t->norm[1] = norm(t, 1, o);
    t->conv[2] = g_conv(g, t->norm[1], w[2]);
    t->norm[2] = norm(t, 2, o);
    t->conv[3] = g_deconv(g, t->norm[2], w[3], g_param(g, &t->params, "bias"));
    const bool even = s->height % 2 == 0 && s->width % 2 == 0;
    t->loss = g_mean(g, even ? g_square_error(g, t->conv[3], t->image)
                             : g_mul(g, t->conv[3], t->conv[3]));
    graph_keep(g, t->loss);
    if (o->kept) keep_all(t);
    if (!o->no_gradients) graph_gradients(g, t->loss);
    graph_plan(g);
    if (!s->c0)
        for (int64_t k = 0; k < t->in->n_elements; k++)
            ((uint8_t *)t->in->data)[k] = (uint8_t)((uint32_t)k * 2654435761u >> 13);
    else
        for (int64_t k = 0; k < t->in->n_elements; k++)
            reals(t->in)[k] = (real)rng_uniform(8, RNG_TEST, 0, (uint32_t)k) - (real)0.5;
}

static void net_run(struct net *t, int threads) {
    struct pool *pool = pool_new(threads);
    struct executor *ex = executor_new(t->g, pool);
    executor_run(ex);
    executor_free(ex);
    pool_free(pool);
}

static void net_free(struct net *t) {
    graph_free(t->g);
    params_deinit(&t->params);
}

// Loss and every gradient of two nets.
static void assert_same(const struct net *a, const struct net *b) {
    assert_memory_equal(a->loss->data, b->loss->data, sizeof(real));
    assert_memory_equal(a->params.grads, b->params.grads, (size_t)a->params.n_flat * sizeof(real));
    bool any = false;
    for (int64_t k = 0; k < a->params.n_flat; k++) any |= a->params.grads[k] != 0;
    assert_true(any || !a->g->has_gradients);
}

static void check(const struct net_shape *s, const struct options *o) {
    struct options kept = *o;
    kept.kept = true;
    struct net fused, apart;
    net_build(&fused, s, o);
    net_build(&apart, s, &kept);
    net_run(&fused, 2);
    net_run(&apart, 1);
    assert_same(&fused, &apart);
    net_free(&fused);
    net_free(&apart);
}

// With each table that this CPU has.
static void check_everywhere(const struct net_shape *s, const struct options *o) {
    static const char *const tables[] = {"generic", "avx2", "avx512"};
    const char *before = cpu_kernels_name();
    for (int i = 0; i < 3; i++)
        if (cpu_kernels_choose(tables[i])) check(s, o);
    cpu_kernels_choose(before);
}

// Layers of tiny, xs, S; odd sizes, odd channels, one channel, one image, more images than slices.
static const struct net_shape shapes[] = {
    {3, 72, 80, 0, 8, 8, 16},    {5, 36, 40, 8, 16, 8, 32},    {19, 8, 8, 0, 8, 3, 16},
    {2, 18, 20, 16, 32, 16, 32}, {2, 36, 40, 0, 32, 16, 24},   {2, 18, 20, 24, 48, 24, 96},
    {2, 12, 20, 32, 64, 32, 64}, {1, 6, 10, 64, 128, 64, 128}, {3, 9, 11, 3, 5, 7, 6},
    {2, 6, 4, 1, 1, 1, 2},       {1, 4, 4, 0, 2, 4, 1},        {2, 7, 12, 0, 4, 1, 3},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void what_is_computed_inside_others_has_the_same_bytes(void **state) {
    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        check_everywhere(&shapes[i], &(struct options){.act = ACT_SILU});
        check(&shapes[i], &(struct options){.act = ACT_NONE, .rms = i % 2});
        check(&shapes[i], &(struct options){.act = ACT_SILU, .no_gradients = true});
    }
}

static void rounded_operands_give_the_same_bytes_too(void **state) {
    (void)state;
    if (!cpu_kernels_bf16_name()) skip();
    for (int i = 0; i < N_SHAPES; i++)
        check_everywhere(&shapes[i], &(struct options){.act = ACT_SILU, .bf16 = true});
}

// ---- what goes, and what stays

static const struct net_shape framed = {3, 8, 12, 0, 8, 4, 16};
static const struct options with_silu = {.act = ACT_SILU};

static bool is_made(const struct tensor *t) { return t->data != NULL; }

static void the_picture_of_frames_is_never_made(void **state) {
    (void)state;
    struct net t;
    net_build(&t, &framed, &with_silu);
    assert_true(backend_chosen() || !is_made(t.image));
    net_free(&t);
}

static struct tensor *to_pictures(struct graph *g, struct tensor *in, int64_t width) {
    struct tensor *x = g_unpack2(g, in, 8, width);
    struct tensor *w = g_input(g, "w", DTYPE_REAL, 4, (int64_t[]){4, 1, 4, 4});
    graph_keep(g, g_conv(g, x, w));
    return x;
}

// A tanh reads it; it is a part of a stack; it is too large for a line of the squared error.
static void a_picture_that_others_read_is_made(void **state) {
    (void)state;
    struct graph *g = graph_new();
    struct tensor *in = g_input(g, "in", DTYPE_U8, 2, (int64_t[]){2, 24});
    struct tensor *large = g_input(g, "large", DTYPE_U8, 2, (int64_t[]){1, 2 * 1028});
    struct tensor *read = to_pictures(g, in, 12),
                  *stacked[] = {to_pictures(g, in, 12), to_pictures(g, in, 12)},
                  *wide = to_pictures(g, large, 1028), *gone = to_pictures(g, in, 12);
    graph_keep(g, g_tanh(g, read));
    graph_keep(g, g_stack(g, stacked, 2));
    graph_keep(g,
               g_square_error(g, g_input(g, "y", DTYPE_REAL, 4, (int64_t[]){1, 8, 1028, 1}), wide));
    graph_plan(g);
    assert_true(is_made(read) && is_made(stacked[0]) && is_made(stacked[1]) && is_made(wide));
    assert_true(backend_chosen() || !is_made(gone));
    graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_computed_inside_others_has_the_same_bytes),
        cmocka_unit_test(rounded_operands_give_the_same_bytes_too),
        cmocka_unit_test(the_picture_of_frames_is_never_made),
        cmocka_unit_test(a_picture_that_others_read_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
