// Losses per row: squared error, two-hot, binary cross entropy, KL, entropy and log-probability.
#include "support/grad_check.h"

enum { ROWS = 6, N = 35 };

// ---- squared error; the target may have more axes

static void square_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < ROWS; i++) {
        y[i] = 0;
        for (int j = 0; j < N; j++) y[i] += pow(leaf[0][i * N + j] - leaf[1][i * N + j], 2);
    }
}
static struct tensor *square_build(struct graph *g, struct tensor **leaf) {
    return g_square_error(g, leaf[0], leaf[1]);
}
static struct tensor *square_twice_build(struct graph *g, struct tensor **leaf) {
    return g_add(g, g_square_error(g, leaf[0], leaf[1]),
                 g_square_error(g, leaf[0], g_stop_gradient(g, g_tanh(g, leaf[1]))));
}
static void square_error_matches_its_formula_and_gradient(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 3, {ROWS, 5, 7}, -1, 1, false},
                                         {"target", 2, {ROWS, N}, -1, 1, true}};
    grad_check(&(struct grad_case){leaves, 2, square_build, square_reference, 0, 0, false});
    grad_check(&(struct grad_case){leaves, 2, square_twice_build, NULL, 0, 0, false});
}

static void square_error_gives_no_gradient_to_its_target(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"x", 2, {ROWS, N}, -1, 1, false},
                                         {"target", 2, {ROWS, N}, -1, 1, false}};
    struct grad_case c = {leaves, 2, square_build, square_reference, 0, 0, true};
    grad_check(&c);
    struct grad_graph s = grad_graph_new(&c, false, 1);
    grad_poison(&s);
    grad_loss(&s);
    const struct param *target = params_find(s.params, "target");
    for (int64_t i = 0; i < target->n_elements; i++)
        assert_true(params_grads(s.params, target)[i] == 0);
    grad_graph_free(&s);
}

// ---- two-hot (spec 4.1), written from the definition: dense q, then the log-likelihood

enum { K = 41 };
static double symlog(double x) { return copysign(log(1 + fabs(x)), x); }
static void dense_weights(double y, const double *bins, int k, double *q) {
    int below = 0;
    for (int i = 0; i < k; i++) below += bins[i] <= y;
    int low = below - 1 < 0 ? 0 : below - 1, high = below < k ? below : k - 1;
    double d_low = low == high ? 1 : fabs(bins[low] - y),
           d_high = low == high ? 1 : fabs(bins[high] - y);
    for (int i = 0; i < k; i++) q[i] = 0;
    q[low] += d_high / (d_low + d_high);
    q[high] += d_low / (d_low + d_high);
}
static void dense_q(double target, const double *bins, int k, double *q) {
    dense_weights(symlog(target), bins, k, q);
}
static void twohot_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < ROWS; row++) {
        double q[K], sum = 0;
        dense_q(leaf[1][row], leaf[2], K, q);
        for (int i = 0; i < K; i++) sum += exp(leaf[0][row * K + i]);
        y[row] = 0;
        for (int i = 0; i < K; i++) y[row] -= q[i] * (leaf[0][row * K + i] - log(sum));
    }
}
static void twohot_mean_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < ROWS; row++) {
        double sum = 0, mean = 0;
        for (int i = 0; i < K; i++) sum += exp(leaf[0][row * K + i]);
        for (int i = 0; i < K; i++) mean += exp(leaf[0][row * K + i]) / sum * leaf[1][i];
        y[row] = copysign(exp(fabs(mean)) - 1, mean);
    }
}
// Bins -4, -3.8 .. 4 as a constant of the graph.
static struct tensor *bins_of(struct graph *g) {
    struct tensor *bins = g_input(g, "bins", DTYPE_REAL, 1, (int64_t[]){K});
    for (int i = 0; i < K; i++) ((real *)bins->data)[i] = (real)((i - 20) * 0.2);
    return bins;
}
static struct tensor *twohot_build(struct graph *g, struct tensor **leaf) {
    for (int i = 0; i < K; i++) ((real *)leaf[2]->data)[i] = (real)((i - 20) * 0.2);
    return g_twohot_nll(g, leaf[0], leaf[1], leaf[2]);
}
static struct tensor *twohot_mean_build(struct graph *g, struct tensor **leaf) {
    for (int i = 0; i < K; i++) ((real *)leaf[1]->data)[i] = (real)((i - 20) * 0.2);
    return g_twohot_mean(g, leaf[0], leaf[1]);
}
static struct tensor *twohot_twice_build(struct graph *g, struct tensor **leaf) {
    // In this order each of the two once writes the gradient and once adds to it (logits and their
    // double).
    struct tensor *bins = bins_of(g), *twice = g_affine(g, leaf[0], 2, 0);
    struct tensor *a = g_twohot_nll(g, leaf[0], leaf[1], bins),
                  *b = g_twohot_mean(g, leaf[0], bins);
    struct tensor *c = g_twohot_mean(g, twice, bins), *d = g_twohot_nll(g, twice, leaf[1], bins);
    return g_add(g, g_add(g, a, b), g_add(g, c, d));
}
static const struct leaf twohot[] = {{"logits", 2, {ROWS, K}, -3, 3, false},
                                     {"target", 2, {ROWS, 1}, -70, 70, true},
                                     {"bins", 1, {K}, 0, 1, true}};
static const struct leaf twohot_mean[] = {{"logits", 2, {ROWS, K}, -3, 3, false},
                                          {"bins", 1, {K}, 0, 1, true}};

static void twohot_matches_its_formula_and_gradient(void **state) {
    (void)state;
    grad_check(&(struct grad_case){twohot, 3, twohot_build, twohot_reference, 2e-6, 0, false});
    grad_check(&(struct grad_case){twohot_mean, 2, twohot_mean_build, twohot_mean_reference, 2e-6,
                                   0, false});
    grad_check(&(struct grad_case){twohot, 2, twohot_twice_build, NULL, 0, 0, false});
}

// Targets below, on and above the range, on a bin, and in the middle of two; a NaN target gives a
// NaN loss.

// ---- the same in real space (spec 4.2): bins are no numbers of symlog space

static void real_bins(real *bins) {
    for (int i = 0; i < K; i++) {
        double y = (i - K / 2) * 0.2;
        bins[i] = (real)copysign(exp(fabs(y)) - 1, y);
    }
}
static void real_nll_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < ROWS; row++) {
        double q[K], sum = 0;
        dense_weights(leaf[1][row], leaf[2], K, q);
        for (int i = 0; i < K; i++) sum += exp(leaf[0][row * K + i]);
        y[row] = 0;
        for (int i = 0; i < K; i++) y[row] -= q[i] * (leaf[0][row * K + i] - log(sum));
    }
}
static void real_mean_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < ROWS; row++) {
        double sum = 0;
        y[row] = 0;
        for (int i = 0; i < K; i++) sum += exp(leaf[0][row * K + i]);
        for (int i = 0; i < K; i++) y[row] += exp(leaf[0][row * K + i]) / sum * leaf[1][i];
    }
}
static struct tensor *real_nll_build(struct graph *g, struct tensor **leaf) {
    real_bins(leaf[2]->data);
    return g_twohot_real_nll(g, leaf[0], leaf[1], leaf[2]);
}
static struct tensor *real_mean_build(struct graph *g, struct tensor **leaf) {
    real_bins(leaf[1]->data);
    return g_twohot_real_mean(g, leaf[0], leaf[1]);
}
static void twohot_in_real_space_matches_its_formula_and_gradient(void **state) {
    (void)state;
    grad_check(&(struct grad_case){twohot, 3, real_nll_build, real_nll_reference, 2e-6, 0, false});
    grad_check(
        &(struct grad_case){twohot_mean, 2, real_mean_build, real_mean_reference, 2e-6, 0, false});
}

static void a_fresh_head_in_real_space_says_exactly_zero(void **state) {
    (void)state;
    enum { BINS = 255 };
    struct graph *g = graph_new();
    struct tensor *logits = g_input(g, "logits", DTYPE_REAL, 2, (int64_t[]){2, BINS});
    struct tensor *bins = g_input(g, "bins", DTYPE_REAL, 1, (int64_t[]){BINS});
    struct tensor *mean = g_twohot_real_mean(g, logits, bins);
    graph_keep(g, mean);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    for (int i = 0; i < BINS; i++) {
        double y = 20.0 * (2 * i - (BINS - 1)) / (BINS - 1);
        ((real *)bins->data)[i] = (real)copysign(exp(fabs(y)) - 1, y);
        ((real *)logits->data)[BINS + i] = (real)0.7;
    }
    executor_run(ex);
    assert_true(((real *)mean->data)[0] == 0 && ((real *)mean->data)[1] == 0);
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

static void twohot_handles_the_edges_of_its_range(void **state) {
    (void)state;
    enum { EDGES = 8, BINS = 5 };
    struct graph *g = graph_new();
    struct tensor *logits = g_input(g, "logits", DTYPE_REAL, 2, (int64_t[]){EDGES, BINS});
    struct tensor *target = g_input(g, "target", DTYPE_REAL, 1, (int64_t[]){EDGES});
    struct tensor *bins = g_input(g, "bins", DTYPE_REAL, 1, (int64_t[]){BINS});
    struct tensor *nll = g_twohot_nll(g, logits, target, bins);
    graph_keep(g, nll);
    graph_plan(g);
    struct pool *pool = pool_new(1);
    struct executor *ex = cpu_executor_new(g, pool);
    const double targets[EDGES] = {-1e9,         -(exp(2) - 1), 0,   exp(1) - 1,
                                   exp(1.5) - 1, exp(2) - 1,    1e9, NAN};
    double b[BINS] = {-2, -1, 0, 1, 2};
    for (int i = 0; i < BINS; i++) ((real *)bins->data)[i] = (real)b[i];
    for (int i = 0; i < EDGES; i++) ((real *)target->data)[i] = (real)targets[i];
    for (int i = 0; i < EDGES * BINS; i++)
        ((real *)logits->data)[i] = (real)(grad_random(3, i) * 4);
    executor_run(ex);
    for (int row = 0; row < EDGES - 1; row++) {
        double q[BINS], sum = 0, expect = 0;
        const real *l = (const real *)logits->data + row * BINS;
        dense_q((double)((real *)target->data)[row], b, BINS, q);
        for (int i = 0; i < BINS; i++) sum += exp((double)l[i]);
        for (int i = 0; i < BINS; i++) expect -= q[i] * ((double)l[i] - log(sum));
        // At an exact bin rounding may choose either neighbour: the weight that moves is tiny.
        assert_true(fabs((double)((real *)nll->data)[row] - expect) < 1e-5);
    }
    assert_true(isnan((double)((real *)nll->data)[EDGES - 1]));
    executor_free(ex);
    graph_free(g);
    pool_free(pool);
}

// ---- binary cross entropy

static void bce_reference(const double *const *leaf, double *y) {
    for (int i = 0; i < N; i++) {
        double l = leaf[0][i];
        y[i] = fmax(l, 0) - l * leaf[1][i] + log1p(exp(-fabs(l)));
    }
}
static struct tensor *bce_build(struct graph *g, struct tensor **leaf) {
    return g_bce(g, leaf[0], leaf[1]);
}
static struct tensor *bce_twice_build(struct graph *g, struct tensor **leaf) {
    struct tensor *l = g_reshape(g, leaf[0], 1, (int64_t[]){N});
    return g_add(g, g_bce(g, leaf[0], leaf[1]), g_mul(g, l, g_bce(g, l, leaf[1])));
}
static void bce_matches_its_formula_and_gradient(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"logits", 2, {N, 1}, -6, 6, false},
                                         {"target", 1, {N}, 0, 1, true}};
    grad_check(&(struct grad_case){leaves, 2, bce_build, bce_reference, 0, 0, false});
    grad_check(&(struct grad_case){leaves, 2, bce_twice_build, NULL, 0, 0, false});
}

// ---- KL. Post and prior are unimixed, as in the model.

enum { S = 3, D = 7, SD = S * D };
static const struct leaf pair[] = {{"post", 2, {ROWS, SD}, -2, 2, false},
                                   {"prior", 2, {ROWS, SD}, -2, 2, false}};
static void unimix(const double *l, double *m) {
    for (int s = 0; s < S; s++) {
        double sum = 0;
        for (int i = 0; i < D; i++) sum += exp(l[s * D + i]);
        for (int i = 0; i < D; i++) m[s * D + i] = 0.99 * exp(l[s * D + i]) / sum + 0.01 / D;
    }
}
static double kl_of(const double *post, const double *prior) {
    double p[SD], q[SD], kl = 0;
    unimix(post, p);
    unimix(prior, q);
    for (int i = 0; i < SD; i++) kl += p[i] * (log(p[i]) - log(q[i]));
    return kl;
}
static void kl_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < ROWS; row++) y[row] = kl_of(leaf[0] + row * SD, leaf[1] + row * SD);
}
static void kl_balanced_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < ROWS; row++)
        y[row] = 0.6 * fmax(kl_of(leaf[0] + row * SD, leaf[1] + row * SD), 2.5);
}
static struct tensor *mixed(struct graph *g, struct tensor *l) {
    return g_unimix(g, l, D, (real)0.01);
}
static struct tensor *kl_build(struct graph *g, struct tensor **leaf) {
    return g_kl(g, mixed(g, leaf[0]), mixed(g, leaf[1]), D);
}
static struct tensor *balanced_build(struct graph *g, struct tensor **leaf) {
    return g_kl_balanced(g, mixed(g, leaf[0]), mixed(g, leaf[1]), D, (real)0.5, (real)0.1,
                         (real)2.5);
}
// One side alone: then its gradient is that of the value.
static struct tensor *dynamics_build(struct graph *g, struct tensor **leaf) {
    return g_kl_balanced(g, mixed(g, leaf[0]), mixed(g, leaf[1]), D, (real)0.7, 0, (real)2.5);
}
static struct tensor *representation_build(struct graph *g, struct tensor **leaf) {
    return g_kl_balanced(g, mixed(g, leaf[0]), mixed(g, leaf[1]), D, 0, (real)0.3, (real)2.5);
}

// The masses have other readers behind the KL, so its two contributions add.
static struct tensor *dynamics_and_more_build(struct graph *g, struct tensor **leaf) {
    struct tensor *m = mixed(g, leaf[0]), *q = mixed(g, leaf[1]);
    struct tensor *kl = g_kl_balanced(g, m, q, D, (real)0.7, 0, (real)0.1);
    return g_add(g, g_mean(g, kl), g_affine(g, g_mean(g, g_mul(g, q, q)), 100, 0));
}
static struct tensor *representation_and_more_build(struct graph *g, struct tensor **leaf) {
    struct tensor *m = mixed(g, leaf[0]), *q = mixed(g, leaf[1]);
    struct tensor *kl = g_kl_balanced(g, m, q, D, 0, (real)0.3, (real)0.1);
    return g_add(g, g_mean(g, kl), g_affine(g, g_mean(g, g_mul(g, m, m)), 100, 0));
}

static void kl_matches_its_formula(void **state) {
    (void)state;
    static const struct leaf constant[] = {{"post", 2, {ROWS, SD}, -2, 2, true},
                                           {"prior", 2, {ROWS, SD}, -2, 2, true}};
    grad_check(&(struct grad_case){constant, 2, kl_build, kl_reference, 2e-6, 0, true});
    grad_check(&(struct grad_case){pair, 2, balanced_build, kl_balanced_reference, 2e-6, 0, true});
}

static void each_side_of_the_kl_has_the_gradient_of_its_term(void **state) {
    (void)state;
    static const struct leaf prior_only[] = {{"post", 2, {ROWS, SD}, -2, 2, true},
                                             {"prior", 2, {ROWS, SD}, -2, 2, false}};
    static const struct leaf post_only[] = {{"post", 2, {ROWS, SD}, -2, 2, false},
                                            {"prior", 2, {ROWS, SD}, -2, 2, true}};
    grad_check(&(struct grad_case){prior_only, 2, dynamics_build, NULL, 0, 0, false});
    grad_check(&(struct grad_case){post_only, 2, representation_build, NULL, 0, 0, false});
    grad_check(&(struct grad_case){prior_only, 2, dynamics_and_more_build, NULL, 0, 0, false});
    grad_check(&(struct grad_case){post_only, 2, representation_and_more_build, NULL, 0, 0, false});
}

// d_dyn is for the prior alone, d_rep for the posterior alone; below the free nats there is none,
// at a tie half.
static void free_nats_cut_the_gradient_and_a_tie_halves_it(void **state) {
    (void)state;
    enum { CASES = 3 };
    double norms[CASES];
    for (int i = 0; i < CASES; i++) {
        struct params p;
        params_init(&p);
        params_add(&p, "prior", 2, (int64_t[]){1, SD});
        params_allocate(&p);
        struct graph *g = graph_new();
        struct tensor *post = g_input(g, "post", DTYPE_REAL, 2, (int64_t[]){1, SD}),
                      *prior = g_param(g, &p, "prior");
        struct tensor *m = mixed(g, post), *q = mixed(g, prior);
        for (int k = 0; k < SD; k++)
            ((real *)post->data)[k] = (real)grad_random(1, k),
                   p.weights[k] = (real)grad_random(2, k);
        // The value itself as the threshold is an exact tie: taken from a graph of its own.
        static real value;
        real free_nats = i == 0 ? 0 : i == 1 ? value : value * 2;
        struct tensor *kl = g_kl(g, m, q, D),
                      *loss = g_mean(g, g_kl_balanced(g, m, q, D, 1, 0, free_nats));
        graph_keep(g, kl);
        graph_gradients(g, loss);
        graph_plan(g);
        struct pool *pool = pool_new(1);
        struct executor *ex = cpu_executor_new(g, pool);
        executor_run(ex);
        value = *(real *)kl->data;
        norms[i] = 0;
        for (int k = 0; k < SD; k++) norms[i] += fabs((double)p.grads[k]);
        executor_free(ex);
        graph_free(g);
        params_deinit(&p);
        pool_free(pool);
    }
    assert_true(norms[0] > 0.01);
    assert_true(fabs(norms[1] - norms[0] / 2) < 1e-6);
    assert_true(norms[2] == 0);
}

static void entropy_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < ROWS; row++) {
        y[row] = 0;
        for (int i = 0; i < SD; i++) y[row] -= leaf[0][row * SD + i] * log(leaf[0][row * SD + i]);
    }
}
static struct tensor *entropy_build(struct graph *g, struct tensor **leaf) {
    return g_entropy(g, leaf[0]);
}
// The masses have another reader on either side, so the contribution writes once and adds once.
static struct tensor *entropy_and_more_build(struct graph *g, struct tensor **leaf) {
    struct tensor *m = mixed(g, leaf[0]), *before = g_entropy(g, m);
    struct tensor *square = g_mean(g, g_mul(g, m, m)), *after = g_entropy(g, m);
    return g_add(g, g_add(g, g_mean(g, before), g_affine(g, square, 9, 0)),
                 g_affine(g, g_mean(g, after), 2, 0));
}
static void entropy_matches_its_formula_and_gradient(void **state) {
    (void)state;
    static const struct leaf m[] = {{"m", 2, {ROWS, SD}, 0.05, 1, false}};
    grad_check(&(struct grad_case){m, 1, entropy_build, entropy_reference, 2e-6, 0, false});
    grad_check(&(struct grad_case){pair, 1, entropy_and_more_build, NULL, 0, 0, false});
}

// One-hot rows from the leaf's own numbers: the largest of each categorical.
static struct tensor *log_prob_build(struct graph *g, struct tensor **leaf) {
    return g_log_prob(g, mixed(g, leaf[0]), g_mode(g, leaf[1], D));
}
static struct tensor *log_prob_and_more_build(struct graph *g, struct tensor **leaf) {
    struct tensor *m = mixed(g, leaf[0]), *z = g_mode(g, leaf[1], D), *before = g_log_prob(g, m, z);
    struct tensor *square = g_mean(g, g_mul(g, m, m)), *after = g_log_prob(g, m, z);
    return g_add(g, g_add(g, g_mean(g, before), g_affine(g, square, 9, 0)),
                 g_affine(g, g_mean(g, after), 2, 0));
}
static void log_prob_reference(const double *const *leaf, double *y) {
    for (int row = 0; row < ROWS; row++) {
        double m[SD];
        unimix(leaf[0] + row * SD, m);
        y[row] = 0;
        for (int s = 0; s < S; s++) {
            const double *of = leaf[1] + row * SD + s * D;
            int best = 0;
            for (int i = 1; i < D; i++)
                if (of[i] > of[best]) best = i;
            y[row] += log(m[s * D + best]);
        }
    }
}
static void log_prob_matches_its_formula_and_gradient(void **state) {
    (void)state;
    static const struct leaf leaves[] = {{"logits", 2, {ROWS, SD}, -3, 3, false},
                                         {"of", 2, {ROWS, SD}, 0, 1, true}};
    grad_check(&(struct grad_case){leaves, 2, log_prob_build, log_prob_reference, 2e-6, 0, false});
    grad_check(&(struct grad_case){leaves, 2, log_prob_and_more_build, NULL, 0, 0, false});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(square_error_matches_its_formula_and_gradient),
        cmocka_unit_test(square_error_gives_no_gradient_to_its_target),
        cmocka_unit_test(twohot_matches_its_formula_and_gradient),
        cmocka_unit_test(twohot_in_real_space_matches_its_formula_and_gradient),
        cmocka_unit_test(a_fresh_head_in_real_space_says_exactly_zero),
        cmocka_unit_test(twohot_handles_the_edges_of_its_range),
        cmocka_unit_test(bce_matches_its_formula_and_gradient),
        cmocka_unit_test(kl_matches_its_formula),
        cmocka_unit_test(each_side_of_the_kl_has_the_gradient_of_its_term),
        cmocka_unit_test(free_nats_cut_the_gradient_and_a_tie_halves_it),
        cmocka_unit_test(entropy_matches_its_formula_and_gradient),
        cmocka_unit_test(log_prob_matches_its_formula_and_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
