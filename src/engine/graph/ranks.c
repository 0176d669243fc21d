// Ranks: shares of a batch, means and gathered numbers over any transport.
#include "engine/graph/ranks.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/graph/ranks_watch.h"

struct rank_share ranks_share(const struct ranks *r, int batch) {
    if (!r) return (struct rank_share){0, batch};
    CHECK(batch % r->n == 0, "a batch of %d sequences for %d ranks", batch, r->n);
    return (struct rank_share){batch / r->n * r->rank, batch / r->n};
}

void ranks_mean(struct ranks *r, real *x, int64_t n) {
    if (!r || r->n == 1) return;
    r->sum(r, x, n);
    const real share = (real)1 / (real)r->n;
    for (int64_t i = 0; i < n; i++) x[i] *= share;
}

void *ranks_gathered(struct ranks *r, const void *mine, int64_t bytes) {
    if (r->room_bytes < bytes * r->n) {
        free(r->room);
        r->room_bytes = bytes * r->n;
        r->room = mem_alloc((size_t)r->room_bytes);
    }
    r->gather(r, mine, r->room, bytes);
    return r->room;
}

void ranks_close(struct ranks *r) {
    if (!r) return;
    ranks_unwatch(r->watch);
    free(r->room);
    r->close(r);
}
