// One parity check in the making: graph, inputs, comparisons.
#include "engine/algo/dreamer_v3/golden_case.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void case_fail(struct golden_case *c, const char *format, ...) {
    if (c->failed) return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->failed = true;
    error_set(&c->error, STATUS_FAILED, "%s: %s", c->code, text);
}

const struct golden_tensor *case_tensor(struct golden_case *c, const char *name) {
    const struct golden_tensor *t = golden_find(c->fixture, name);
    if (!t) case_fail(c, "the fixture has no tensor %s", name);
    return t;
}

const real *case_reals(struct golden_case *c, const char *name, int64_t n) {
    const struct golden_tensor *t = case_tensor(c, name);
    if (!t) return NULL;
    if (t->t->n_elements == n) return golden_reals(c->fixture, t);
    case_fail(c, "%s has %lld elements, not %lld", name, (long long)t->t->n_elements, (long long)n);
    return NULL;
}

int64_t case_dim(struct golden_case *c, const char *name, int dim) {
    const struct golden_tensor *t = case_tensor(c, name);
    return t && dim < t->t->n_dims ? t->t->shape[dim] : 1;
}

// ---- parameters

void case_param(struct golden_case *c, const char *from, const char *name) {
    const struct golden_tensor *t = case_tensor(c, from);
    if (!t) return;
    params_add(&c->params, name, t->t->n_dims, t->t->shape);
    CHECK(c->n_fills < CASE_MAX_FILLS, "%s: too many tensors", c->code);
    // parameters have no tensor yet: case_begin copies them
    c->fills[c->n_fills].tensor = NULL;
    c->fills[c->n_fills++].from = t;
}

void case_params(struct golden_case *c, const char *prefix) {
    for (int i = 0; i < golden_tensor_count(c->fixture); i++) {
        const char *name = golden_tensor_at(c->fixture, i)->t->name;
        if (strncmp(name, prefix, strlen(prefix)) == 0) case_param(c, name, name + strlen(prefix));
    }
}

void case_load_params(struct golden_case *c, const char *prefix) {
    char name[ST_NAME_SIZE];
    int n = 0;
    params_allocate(&c->params);
    for (int i = 0; i < golden_tensor_count(c->fixture); i++)
        n += strncmp(golden_tensor_at(c->fixture, i)->t->name, prefix, strlen(prefix)) == 0;
    if (n != c->params.n)
        case_fail(c, "%d parameters in the fixture, %d in the model", n, c->params.n);
    for (int i = 0; i < c->params.n && !c->failed; i++) {
        const struct param *q = &c->params.list[i];
        snprintf(name, sizeof name, "%s%s", prefix, q->name);
        const struct golden_tensor *t = case_tensor(c, name);
        if (!t) return;
        bool same = t->t->n_dims == q->n_dims;
        for (int d = 0; same && d < q->n_dims; d++) same = t->t->shape[d] == q->shape[d];
        if (!same)
            case_fail(c, "%s has another shape than the model's parameter", name);
        else
            memcpy(params_weights(&c->params, q), golden_reals(c->fixture, t),
                   (size_t)q->n_elements * sizeof(real));
    }
}

void case_begin(struct golden_case *c) {
    if (!c->params.weights) params_allocate(&c->params);
    for (int i = 0; i < c->n_fills; i++)
        memcpy(params_weights(&c->params, &c->params.list[i]),
               golden_reals(c->fixture, c->fills[i].from),
               (size_t)c->params.list[i].n_elements * sizeof(real));
    c->n_fills = 0;
    c->graph = graph_new();
    c->nn.graph = c->graph;
    c->nn.params = &c->params;
}

// ---- building

struct tensor *case_input(struct golden_case *c, const char *name, int n_dims,
                          const int64_t *shape) {
    struct tensor *t = g_input(c->graph, name, DTYPE_REAL, n_dims, shape);
    graph_want_gradient(c->graph, t);
    const struct golden_tensor *from = case_tensor(c, name);
    if (from && from->t->n_elements != t->n_elements) {
        case_fail(c, "%s has %lld elements, not %lld", name, (long long)from->t->n_elements,
                  (long long)t->n_elements);
        from = NULL;
    }
    CHECK(c->n_fills < CASE_MAX_FILLS, "%s: too many tensors", c->code);
    if (!from) return t;
    c->fills[c->n_fills].tensor = t;
    c->fills[c->n_fills++].from = from;
    return t;
}

struct tensor *case_image(struct golden_case *c, const char *name, int64_t n, int64_t channels,
                          int64_t height, int64_t width) {
    struct tensor *flat = case_input(c, name, 2, (int64_t[]){n, channels * height * width});
    return g_chw_to_hwc(c->graph, flat, height, width, channels);
}

struct tensor *case_flat(struct golden_case *c, struct tensor *image) {
    return g_hwc_to_chw(c->graph, image);
}

void case_bins(struct golden_case *c, struct tensor *bins) {
    struct golden_fixture *f05 = golden_load(c->golden, "F05", c->failed ? NULL : &c->error);
    if (!f05) {
        c->failed = true;
        return;
    }
    const struct golden_tensor *t = golden_find(f05, "bins");
    if (!t || t->t->n_elements != bins->n_elements)
        case_fail(c, "F05 has no such bins");
    else
        memcpy(bins->data, golden_reals(f05, t), (size_t)bins->n_elements * sizeof(real));
    golden_fixture_free(f05);
}

static void check_add(struct golden_case *c, const char *name, enum case_kind kind,
                      struct tensor *const *t, int n, int64_t n_classes) {
    if (!case_tensor(c, name)) return;
    CHECK(c->n_checks < CASE_MAX_CHECKS, "%s: too many comparisons", c->code);
    struct case_check *k = &c->checks[c->n_checks++];
    *k = (struct case_check){.kind = kind, .n_tensors = n, .n_classes = n_classes};
    snprintf(k->name, sizeof k->name, "%s", name);
    k->tensors = mem_alloc((size_t)n * sizeof *k->tensors);
    memcpy(k->tensors, t, (size_t)n * sizeof *k->tensors);
    for (int i = 0; i < n; i++) graph_keep(c->graph, t[i]);
}

void case_value(struct golden_case *c, const char *name, struct tensor *t) {
    check_add(c, name, CASE_VALUE, &t, 1, 0);
}
void case_values(struct golden_case *c, const char *name, struct tensor *const *t, int n) {
    check_add(c, name, CASE_VALUE, t, n, 0);
}
void case_classes(struct golden_case *c, const char *name, struct tensor *const *z, int n,
                  int64_t n_classes) {
    check_add(c, name, CASE_CLASS, z, n, n_classes);
}
void case_pairs(struct golden_case *c, const char *name, struct tensor *const *left, int n,
                struct tensor *right) {
    check_add(c, name, CASE_PAIRS, left, n, 0);
    if (!c->failed) c->checks[c->n_checks - 1].right = right;
    graph_keep(c->graph, right);
}
void case_gradient(struct golden_case *c, const char *name, struct tensor *input) {
    check_add(c, name, CASE_GRADIENT, &input, 1, 0);
}
void case_param_gradient(struct golden_case *c, const char *name, const char *param) {
    case_gradient(c, name, g_param(c->graph, &c->params, param));
}
void case_param_gradients(struct golden_case *c, const char *prefix) {
    char name[ST_NAME_SIZE];
    for (int i = 0; i < c->params.n; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, c->params.list[i].name);
        case_param_gradient(c, name, c->params.list[i].name);
    }
}

void case_add_loss(struct golden_case *c, struct tensor *loss) {
    c->loss = c->loss ? g_add(c->graph, c->loss, loss) : loss;
}

void case_upstream_tensor(struct golden_case *c, struct tensor *y, struct tensor *dy) {
    struct tensor *sum =
        g_affine(c->graph, g_mean(c->graph, g_mul(c->graph, y, dy)), (real)y->n_elements, 0);
    case_add_loss(c, sum);
}

void case_upstream(struct golden_case *c, struct tensor *y, const char *name) {
    case_upstream_tensor(c, y, case_input(c, name, y->n_dims, y->shape));
}

// ---- running

static void layer_probe(void *ctx, const char *submodule, struct tensor *output) {
    struct golden_case *c = ctx;
    char name[ST_NAME_SIZE];
    snprintf(name, sizeof name, "layer.%s", submodule);
    if (golden_find(c->fixture, name))
        case_value(c, name, output->n_dims == 4 ? case_flat(c, output) : output);
}

void case_plan(struct golden_case *c) {
    if (c->loss) graph_gradients(c->graph, c->loss);
    for (int i = 0; i < c->n_checks; i++)
        for (int k = 0; k < c->checks[i].n_tensors; k++)
            graph_keep(c->graph, c->checks[i].tensors[k]);
    graph_plan(c->graph);
    c->executor = executor_new(c->graph, c->pool);
    for (int i = 0; i < c->n_fills; i++)
        memcpy(c->fills[i].tensor->data, golden_reals(c->fixture, c->fills[i].from),
               (size_t)c->fills[i].tensor->n_elements * sizeof(real));
}

void case_execute(struct golden_case *c) { executor_run(c->executor); }

void case_match_f64(struct golden_case *c, const char *name, const double *x, int64_t n) {
    const struct golden_tensor *t = case_tensor(c, name);
    if (c->failed) return;
    c->failed = !golden_match_f64(t, x, n, 1, &c->error);
    for (int i = 0; c->compared && i < golden_tensor_count(c->fixture); i++)
        c->compared[i] |= golden_tensor_at(c->fixture, i) == t;
}

void case_match(struct golden_case *c, const char *name, const real *x, int64_t n) {
    double *wide = mem_alloc((size_t)n * sizeof *wide);
    for (int64_t i = 0; i < n; i++) wide[i] = (double)x[i];
    case_match_f64(c, name, wide, n);
    free(wide);
}

// Weights after one Adam step, where the gradient is not rounding noise (spec 10.2, G37).
static void match_after(struct golden_case *c, const struct params *p) {
    for (int i = 0; i < p->n && !c->failed; i++) {
        const struct param *q = &p->list[i];
        const real *w = params_weights(p, q), *g = params_grads(p, q);
        char name[ST_NAME_SIZE];
        snprintf(name, sizeof name, "after.%s", q->name);
        const real *reference = case_reals(c, name, q->n_elements);
        if (!reference) return;
        double squares = 0;
        for (int64_t j = 0; j < q->n_elements; j++) squares += (double)g[j] * (double)g[j];
        double noise = 1e-6 * sqrt(squares / (double)q->n_elements);
        real *mine = mem_alloc((size_t)q->n_elements * sizeof *mine);
        for (int64_t j = 0; j < q->n_elements; j++)
            mine[j] = fabs((double)g[j]) >= noise ? w[j] : reference[j];
        case_match(c, name, mine, q->n_elements);
        free(mine);
    }
}

void case_gradients(struct golden_case *c, const struct params *p, const char *prefix) {
    for (int i = 0; i < p->n && !c->failed; i++) {
        char name[ST_NAME_SIZE];
        snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        case_match(c, name, params_grads(p, &p->list[i]), p->list[i].n_elements);
    }
}

void case_update(struct golden_case *c, struct params *p, const struct optim_opts *adam,
                 const char *norm_name) {
    case_gradients(c, p, "grad.");
    double norm = optim_step(p, c->pool, adam, 1), clip = optim_clip(norm, adam->max_norm);
    case_match(c, norm_name, &(real){(real)norm}, 1);
    case_match(c, "clip_coefficient", &(real){(real)clip}, 1);
    match_after(c, p);
}

int case_load_set(struct golden_case *c, struct params *p, const char *prefix, bool all) {
    char name[ST_NAME_SIZE];
    int n = 0;
    for (int i = 0; i < p->n && !c->failed; i++) {
        const struct param *q = &p->list[i];
        snprintf(name, sizeof name, "%s%s", prefix, q->name);
        if (!all && !golden_find(c->fixture, name)) continue;
        const real *x = case_reals(c, name, q->n_elements);
        if (x) memcpy(params_weights(p, q), x, (size_t)q->n_elements * sizeof *x);
        n++;
    }
    return n;
}

static int64_t append_values(real *out, const struct tensor *t) {
    memcpy(out, t->data, (size_t)t->n_elements * sizeof *out);
    return t->n_elements;
}

static int64_t append_classes(real *out, const struct tensor *z, int64_t n_classes) {
    const real *x = z->data;
    int64_t n = z->n_elements / n_classes;
    for (int64_t i = 0; i < n; i++) {
        int64_t best = 0;
        for (int64_t k = 1; k < n_classes; k++)
            if (x[i * n_classes + k] > x[i * n_classes + best]) best = k;
        out[i] = (real)best;
    }
    return n;
}

// Rows of t, each followed by the next row of `right`.
static int64_t append_pairs(real *out, const struct tensor *t, const real *right, int64_t n_right) {
    int64_t n_left = t->shape[1];
    for (int64_t i = 0; i < t->shape[0]; i++, out += n_left + n_right) {
        memcpy(out, (const real *)t->data + i * n_left, (size_t)n_left * sizeof *out);
        memcpy(out + n_left, right + i * n_right, (size_t)n_right * sizeof *out);
    }
    return t->shape[0] * (n_left + n_right);
}

void case_compare(struct golden_case *c) {
    for (int i = 0; i < c->n_checks && !c->failed; i++) {
        const struct case_check *k = &c->checks[i];
        int64_t n = 0, total = 0;
        for (int j = 0; j < k->n_tensors; j++) total += k->tensors[j]->n_elements;
        if (k->right) total += k->right->n_elements;
        const real *right = k->right ? k->right->data : NULL;
        real *values = mem_alloc((size_t)total * sizeof *values);
        for (int j = 0; j < k->n_tensors; j++) {
            const struct tensor *t = k->tensors[j];
            if (k->kind == CASE_CLASS)
                n += append_classes(values + n, t, k->n_classes);
            else if (k->kind == CASE_PAIRS) {
                int64_t n_right = k->right->shape[1];
                n += append_pairs(values + n, t, right, n_right);
                right += t->shape[0] * n_right;
            } else if (k->kind == CASE_VALUE)
                n += append_values(values + n, t);
            else if (t->grad)
                n += append_values(values + n, t->grad);
            else
                case_fail(c, "%s: no gradient reaches %s", k->name, t->name);
        }
        case_match(c, k->name, values, n);
        free(values);
    }
}

void case_run(struct golden_case *c) {
    case_plan(c);
    case_execute(c);
    case_compare(c);
}

void case_end(struct golden_case *c) {
    executor_free(c->executor);
    graph_free(c->graph);
    params_deinit(&c->params);
    for (int i = 0; i < c->n_checks; i++) free(c->checks[i].tensors);
    c->executor = NULL;
    c->graph = NULL;
    c->loss = NULL;
    c->n_fills = c->n_checks = 0;
    params_init(&c->params);
    c->nn = (struct nn){
        .dense_eps = (real)1e-3, .conv_eps = (real)1e-3, .probe = layer_probe, .probe_ctx = c};
}
