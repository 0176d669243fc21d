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
            double first = radius * cos(angle), second = radius * sin(angle);
            if (fabs(first) <= cut) return first;
            if (fabs(second) <= cut) return second;
        }
    }
}

void init_truncated_normal(real *x, int64_t n, double sigma, double cut, uint64_t seed,
                           uint64_t stream) {
    CHECK(n <= UINT32_MAX, "%lld weights in one tensor", (long long)n);
    for (int64_t i = 0; i < n; i++) x[i] = (real)cut_normal(sigma, cut, seed, stream, (uint32_t)i);
}

void init_uniform(real *x, int64_t n, double a, uint64_t seed, uint64_t stream) {
    CHECK(n <= UINT32_MAX, "%lld weights in one tensor", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        double u = (rng_u32(seed, RNG_INIT, stream, (uint32_t)i) + 0.5) * 0x1p-32;
        x[i] = (real)(a * (2.0 * u - 1.0));
    }
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void init_one(real *x, const struct param *q, uint64_t seed, enum init_kind kind) {
    bool weight = ends_with(q->name, ".weight"), matrix = weight && q->n_dims >= 2;
    for (int64_t i = 0; i < q->n_elements; i++) x[i] = weight && !matrix ? 1 : 0;
    if (!matrix || kind == INIT_ZERO) return;
    double taps = q->n_dims == 4 ? (double)(q->shape[2] * q->shape[3]) : 1.0;
    double fan = taps * (double)(q->shape[0] + q->shape[1]) / 2.0;
    uint64_t stream = init_stream(q->name);
    if (kind == INIT_UNIFORM) {
        init_uniform(x, q->n_elements, sqrt(3.0 / fan), seed, stream);
        return;
    }
    double sigma = sqrt(1.0 / fan) / TRUNCATED_STD;
    // sheeprl cuts convolutions at an absolute 2.0, many sigmas away: their std stays 1 / 0.8796
    // too large.
    init_truncated_normal(x, q->n_elements, sigma, q->n_dims == 4 ? 2.0 : 2.0 * sigma, seed,
                          stream);
}

void init_params(struct params *p, uint64_t seed, const struct init_rule *rules) {
    for (int i = 0; i < p->n; i++) {
        enum init_kind kind = INIT_BY_SHAPE;
        for (const struct init_rule *r = rules; r && r->prefix; r++)
            if (strncmp(p->list[i].name, r->prefix, strlen(r->prefix)) == 0) kind = r->kind;
        init_one(params_weights(p, &p->list[i]), &p->list[i], seed, kind);
    }
}
