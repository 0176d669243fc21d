// Returns of the dream: continues, lambda returns, discount weights, running range, advantage.
#include "engine/algo/dreamer_v3/returns.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

struct tensor *hard_continues(struct graph *g, struct tensor *logits) {
    // strictly more than one half: -p < -1/2
    struct tensor *p = g_reshape(g, g_sigmoid(g, logits), 1, (int64_t[]){logits->n_elements});
    return g_less(g, g_affine(g, p, -1, 0), (real)-0.5);
}

struct tensor *lambda_returns(struct graph *g, struct tensor *reward, struct tensor *value,
                              struct tensor *discount, int horizon, real lambda) {
    int64_t n = reward->n_elements / horizon;
    CHECK(horizon >= 1 && n * horizon == reward->n_elements, "%lld rewards for a horizon of %d",
          (long long)reward->n_elements, horizon);
    graph_scope_push(g, "returns");
    struct tensor **returns = mem_alloc((size_t)horizon * sizeof *returns);
    struct tensor *rest = g_add(g, reward, g_mul(g, discount, g_affine(g, value, 1 - lambda, 0)));
    struct tensor *carry = g_affine(g, discount, lambda, 0),
                  *next = g_slice(g, value, (horizon - 1) * n, n);
    for (int tau = horizon - 1; tau >= 0; tau--) {
        struct tensor *carried = g_mul(g, g_slice(g, carry, tau * n, n), next);
        next = returns[tau] = g_add(g, g_slice(g, rest, tau * n, n), carried);
    }
    struct tensor *all = g_stack(g, returns, horizon);
    graph_scope_pop(g);
    free(returns);
    return all;
}

struct tensor *discount_weights(struct graph *g, struct tensor *first, struct tensor *discount,
                                int horizon, real gamma) {
    int64_t n = first->n_elements;
    CHECK(horizon >= 1 && discount->n_elements == horizon * n, "%lld discounts",
          (long long)discount->n_elements);
    graph_scope_push(g, "weights");
    struct tensor **product = mem_alloc((size_t)horizon * sizeof *product);
    product[0] = g_affine(g, first, 1, 0); // a copy, so that it lies in the stack
    for (int tau = 1; tau < horizon; tau++)
        product[tau] = g_mul(g, product[tau - 1], g_slice(g, discount, (tau - 1) * n, n));
    struct tensor *weights = g_affine(g, g_stack(g, product, horizon), 1 / gamma, 0);
    graph_scope_pop(g);
    free(product);
    return weights;
}

struct moments moments_update(struct graph *g, struct tensor *returns, struct tensor *range,
                              const struct moments_opts *o) {
    graph_scope_push(g, "moments");
    struct moments m = {.quantiles = g_quantiles(g, returns, o->low, o->high)};
    m.range = g_add(g, g_affine(g, range, o->decay, 0), g_affine(g, m.quantiles, 1 - o->decay, 0));
    graph_scope_pop(g);
    return m;
}

struct tensor *normalized_advantage(struct graph *g, struct tensor *returns, struct tensor *value,
                                    struct tensor *range, real min_scale) {
    graph_scope_push(g, "advantage");
    struct tensor *baseline = g_normalize(g, value, range, min_scale);
    struct tensor *advantage =
        g_add(g, g_normalize(g, returns, range, min_scale), g_affine(g, baseline, -1, 0));
    graph_scope_pop(g);
    return advantage;
}
