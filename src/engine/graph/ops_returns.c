// Ops of the return normaliser: quantiles of a whole tensor, and a shift and scale by them
// (spec/dreamer_v3.md 5.4).
#include <math.h>
#include <string.h>

#include "engine/graph/ops.h"
#include "engine/graph/ranks.h"

enum { SMALL = 16, COST_DIVIDE = 16 };

// ---- order statistics: x[k] becomes what it would be if x were sorted, nothing larger before it,
// nothing smaller behind

static void swap(real *a, real *b) {
    const real t = *a;
    *a = *b;
    *b = t;
}

static real middle(real a, real b, real c) {
    if (a > b) swap(&a, &b);
    return c <= a ? a : c >= b ? b : c;
}

static void insertion_sort(real *x, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        for (int64_t j = i; j > 0 && x[j] < x[j - 1]; j--) swap(&x[j], &x[j - 1]);
}

static void select_kth(real *x, int64_t n, int64_t k) {
    while (n > SMALL) {
        const real pivot = middle(x[0], x[n / 2], x[n - 1]);
        int64_t i = 0, j = n - 1;
        while (i <= j) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i <= j) swap(&x[i++], &x[j--]);
        }
        // [0, j] <= pivot, (j, i) == pivot, [i, n) >= pivot
        if (k <= j) {
            n = j + 1;
        } else if (k >= i) {
            x += i;
            n -= i;
            k -= i;
        } else {
            return;
        }
    }
    insertion_sort(x, n);
}

// Position and weight are rounded like the reference's (torch.quantile): in the precision of the
// values.
static real quantile(real *x, int64_t n, real q) {
    const real position = q * (real)(n - 1);
    const int64_t i = (int64_t)position;
    select_kth(x, n, i);
    if (i + 1 >= n) return x[i];
    real next = x[i + 1];
    for (int64_t j = i + 2; j < n; j++)
        if (x[j] < next) next = x[j];
    return x[i] + (position - (real)i) * (next - x[i]);
}

// ---- quantiles

void quantiles_shape(struct node *n) {
    NODE_CHECK(n, n->src[0]->dtype == DTYPE_REAL, "%s holds no reals", n->src[0]->name);
    NODE_CHECK(n, n->at.scale >= 0 && n->at.scale <= n->at.shift && n->at.shift <= 1,
               "quantiles %g and %g", (double)n->at.scale, (double)n->at.shift);
    node_out(n, 1, (int64_t[]){2});
    node_scratch(n, n->src[0]->n_elements);
}

struct tensor *g_quantiles(struct graph *g, struct tensor *x, real q_low, real q_high) {
    struct node *n = node_new(g, OP_QUANTILES);
    n->at.scale = q_low;
    n->at.shift = q_high;
    node_src(n, x);
    return node_finish(n);
}

void quantiles_run(const struct run *r, const struct node *n) {
    int64_t count = n->src[0]->n_elements;
    const real *x = reals(n->src[0]);
    real *sorted = reals(n->scratch), *out = reals(n->out[0]);
    if (r->ranks) {
        x = sorted = ranks_gathered(r->ranks, x, count * (int64_t)sizeof *x);
        count *= r->ranks->n;
    }
    for (int64_t i = 0; i < count; i++)
        if (isnan(x[i])) {
            out[0] = out[1] = x[i];
            return;
        }
    if (x != sorted) memcpy(sorted, x, (size_t)count * sizeof *x);
    out[0] = quantile(sorted, count, n->at.scale);
    out[1] = quantile(sorted, count, n->at.shift);
}

// ---- normalize

void normalize_shape(struct node *n) {
    NODE_CHECK(n, n->src[1]->n_elements == 2, "%s is no pair of low and high", n->src[1]->name);
    NODE_CHECK(n, n->at.scale > 0, "the smallest scale is %g", (double)n->at.scale);
    node_out_like(n, n->src[0]);
}

struct tensor *g_normalize(struct graph *g, struct tensor *x, struct tensor *range,
                           real min_scale) {
    struct node *n = node_new(g, OP_NORMALIZE);
    n->at.scale = min_scale;
    node_src(n, x);
    node_src(n, range);
    return node_finish(n);
}

static real scale_of(const real *range, real least) {
    const real span = range[1] - range[0];
    return span < least ? least : span; // NaN stays
}

static void normalize_elements(const struct run *r, const struct node *n, int64_t first,
                               int64_t end) {
    (void)r;
    const real *x = reals(n->src[0]), low = reals(n->src[1])[0],
               scale = scale_of(reals(n->src[1]), n->at.scale);
    real *y = reals(n->out[0]);
    for (int64_t i = first; i < end; i++) y[i] = (x[i] - low) / scale;
}

void normalize_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, COST_DIVIDE, normalize_elements);
}

// The range counts as a constant.
void normalize_grad(struct graph *g, struct node *n) {
    struct node *b = backward_new(g, OP_NORMALIZE_DX, n, "dx");
    node_src(b, n->src[1]);
    node_src(b, output_grad(g, n->out[0]));
    backward_out(g, b, n->src[0]);
    node_append(b);
}

static void normalize_dx_elements(const struct run *r, const struct node *n, int64_t first,
                                  int64_t end) {
    (void)r;
    const real scale = scale_of(reals(n->src[0]), n->at.scale), *dy = reals(n->src[1]);
    real *dx = reals(n->out[0]);
    for (int64_t i = first; i < end; i++)
        dx[i] = n->accumulate[0] ? dx[i] + dy[i] / scale : dy[i] / scale;
}

void normalize_dx_run(const struct run *r, const struct node *n) {
    run_elements(r, n, n->out[0]->n_elements, COST_DIVIDE, normalize_dx_elements);
}
