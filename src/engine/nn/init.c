// Initialisers: truncated normal, uniform, zero and one, chosen by shape and by rules.
#include "engine/nn/init.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/philox.h"

static const double TWO_PI = 6.283185307179586;
static const double TRUNCATED_STD = 0.87962566103423978; // std of a unit normal cut at +-2

uint64_t init_stream(const char *name) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h;
}

// Apart from the cosine, so that the compiler doesn't compute both for the one in twenty that needs
// it.
static __attribute__((noinline)) double second_normal(double radius, double angle) {
    return radius * sin(angle);
}

// Box-Muller: one block gives four candidates, the first inside the cut is taken; the next block of
// the element lies in the next step of the stream. At a cut of two sigma one block in 230,000 has
// none.
static double cut_normal(double sigma, double cut, uint64_t seed, uint64_t stream,
                         uint32_t element) {
    for (uint64_t attempt = 0;; attempt++) {
        struct philox r = rng_block(seed, RNG_INIT, stream + attempt, element);
        for (int pair = 0; pair < 2; pair++) {
            double u = (r.v[2 * pair] + 0.5) * 0x1p-32,
                   angle = TWO_PI * (r.v[2 * pair + 1] * 0x1p-32);
            double radius = sigma * sqrt(-2.0 * log(u));
            double first = radius * cos(angle);
            if (fabs(first) <= cut) return first;
            double second = second_normal(radius, angle);
            if (fabs(second) <= cut) return second;
        }
    }
}

// What to draw: element i of every tensor is a function of (seed, stream, i), so pieces may be
// drawn in any order.
struct draw {
    enum init_kind kind;
    double width, cut; // sigma and cut, or half the width of a uniform
    uint64_t seed, stream;
    real *x;
    int64_t n;
};

static void draw_range(const struct draw *d, int64_t first, int64_t end) {
    CHECK(d->n <= UINT32_MAX, "%lld weights in one tensor", (long long)d->n);
    if (d->kind == INIT_UNIFORM)
        for (int64_t i = first; i < end; i++) {
            double u = (rng_u32(d->seed, RNG_INIT, d->stream, (uint32_t)i) + 0.5) * 0x1p-32;
            d->x[i] = (real)(d->width * (2.0 * u - 1.0));
        }
    else
        for (int64_t i = first; i < end; i++)
            d->x[i] = (real)cut_normal(d->width, d->cut, d->seed, d->stream, (uint32_t)i);
}

void init_truncated_normal(real *x, int64_t n, double sigma, double cut, uint64_t seed,
                           uint64_t stream) {
    draw_range(&(struct draw){INIT_BY_SHAPE, sigma, cut, seed, stream, x, n}, 0, n);
}

void init_uniform(real *x, int64_t n, double a, uint64_t seed, uint64_t stream) {
    draw_range(&(struct draw){INIT_UNIFORM, a, 0, seed, stream, x, n}, 0, n);
}

enum { PIECE = 8192 };

static void draw_piece(void *arg, int piece) {
    const struct draw *d = arg;
    const int64_t first = (int64_t)piece * PIECE;
    draw_range(d, first, first + PIECE < d->n ? first + PIECE : d->n);
}

static void draw(struct draw *d, struct pool *pool) {
    if (pool)
        pool_run(pool, (int)((d->n + PIECE - 1) / PIECE), draw_piece, d);
    else
        draw_range(d, 0, d->n);
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static double or_one(double x) { return x > 0 ? x : 1; }

static double fan_in(const struct param *q, const struct init_rule *rule) {
    return (double)(q->n_elements / q->shape[0]) * or_one(rule->blocks);
}

static void init_one(real *x, const struct param *q, uint64_t seed, const struct init_rule *rule,
                     struct pool *pool) {
    const enum init_kind kind = rule ? rule->kind : INIT_BY_SHAPE;
    bool weight = ends_with(q->name, ".weight"), matrix = weight && q->n_dims >= 2;
    if (!matrix || kind == INIT_ZERO) {
        for (int64_t i = 0; i < q->n_elements; i++) x[i] = weight && !matrix ? 1 : 0;
        return;
    }
    double taps = q->n_dims == 4 ? (double)(q->shape[2] * q->shape[3]) : 1.0;
    double fan = taps * (double)(q->shape[0] + q->shape[1]) / 2.0;
    double sigma = sqrt(1.0 / fan) / TRUNCATED_STD;
    struct draw d = {kind, sigma, 0, seed, init_stream(q->name), x, q->n_elements};
    // sheeprl cuts convolutions at an absolute 2.0, many sigmas away: their std stays 1 / 0.8796
    // too large.
    d.cut = q->n_dims == 4 ? 2.0 : 2.0 * sigma;
    if (kind == INIT_FAN_IN) {
        d.width = or_one(rule->scale) * sqrt(1.0 / fan_in(q, rule)) / TRUNCATED_STD;
        d.cut = 2.0 * d.width;
    }
    if (kind == INIT_UNIFORM) d.width = sqrt(3.0 / fan);
    draw(&d, pool);
}

void init_params(struct params *p, uint64_t seed, const struct init_rule *rules,
                 struct pool *pool) {
    for (int i = 0; i < p->n; i++) {
        const struct init_rule *rule = NULL;
        for (const struct init_rule *r = rules; r && r->prefix; r++)
            if (strncmp(p->list[i].name, r->prefix, strlen(r->prefix)) == 0) rule = r;
        init_one(params_weights(p, &p->list[i]), &p->list[i], seed, rule, pool);
    }
}
