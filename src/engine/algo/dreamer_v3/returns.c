// Returns of the dream: continues, lambda returns, discount weights, running range, advantage.
#include "engine/algo/dreamer_v3/returns.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

struct tensor *soft_continues(struct graph *g, struct tensor *logits) {
    return g_reshape(g, g_sigmoid(g, logits), 1, (int64_t[]){logits->n_elements});
}

struct tensor *hard_continues(struct graph *g, struct tensor *logits) {
    // strictly more than one half: -p < -1/2
    return g_less(g, g_affine(g, soft_continues(g, logits), -1, 0), (real)-0.5);
}

// G = rest + carry G_next, step by step from the last one on, which follows `next` [n] -> [steps*n]
static struct tensor *carried_sum(struct graph *g, struct tensor *rest, struct tensor *carry,
                                  struct tensor *next, int steps) {
    int64_t n = next->n_elements;
    struct tensor **sum = mem_alloc((size_t)steps * sizeof *sum);
    for (int t = steps - 1; t >= 0; t--) {
        struct tensor *carried = g_mul(g, g_slice(g, carry, t * n, n), next);
        next = sum[t] = g_add(g, g_slice(g, rest, t * n, n), carried);
    }
    struct tensor *all = g_stack(g, sum, steps);
    free(sum);
    return all;
}

struct tensor *lambda_returns(struct graph *g, struct tensor *reward, struct tensor *value,
                              struct tensor *discount, int horizon, real lambda) {
    int64_t n = reward->n_elements / horizon;
    CHECK(horizon >= 1 && n * horizon == reward->n_elements, "%lld rewards for a horizon of %d",
          (long long)reward->n_elements, horizon);
    graph_scope_push(g, "returns");
    struct tensor *rest = g_add(g, reward, g_mul(g, discount, g_affine(g, value, 1 - lambda, 0)));
    struct tensor *carry = g_affine(g, discount, lambda, 0),
                  *last = g_slice(g, value, (horizon - 1) * n, n);
    struct tensor *all = carried_sum(g, rest, carry, last, horizon);
    graph_scope_pop(g);
    return all;
}

struct replay_returns replay_returns(struct graph *g, struct tensor *reward,
                                     struct tensor *continues, struct tensor *first,
                                     struct tensor *boot, int length, real gamma, real lambda) {
    CHECK(length >= 2, "%d replayed rows", length);
    const int64_t b = reward->n_elements / length, rows = (length - 1) * b;
    graph_scope_push(g, "replay_returns");
    struct tensor **mix = mem_alloc((size_t)(length - 1) * sizeof *mix);
    // A row ends its episode where the next one begins another. What follows the last row is not
    // known and does not matter: its return is its bootstrap.
    for (int t = 1; t < length - 1; t++)
        mix[t - 1] = g_affine(g, g_slice(g, first, (t + 1) * b, b), -lambda, lambda);
    mix[length - 2] = g_affine(g, g_slice(g, first, 0, b), 0, 0);
    struct tensor *discount = g_affine(g, g_slice(g, continues, b, rows), gamma, 0);
    struct tensor *carry = g_mul(g, discount, g_stack(g, mix, length - 1)),
                  *keep = g_add(g, discount, g_affine(g, carry, -1, 0));
    struct tensor *rest =
        g_add(g, g_slice(g, reward, b, rows), g_mul(g, keep, g_slice(g, boot, b, rows)));
    struct replay_returns r = {
        .returns = carried_sum(g, rest, carry, g_slice(g, boot, rows, b), length - 1),
        .weights = g_affine(g, g_slice(g, first, b, rows), -1, 1),
    };
    graph_scope_pop(g);
    free(mix);
    return r;
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
