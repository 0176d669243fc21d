// Ranks: shares of a batch, means and gathered numbers over any transport.
#include "engine/graph/ranks.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/graph/backend.h"
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

// ---- on devices

struct readiness {
    char why[256]; // "": ready
    bool has_device;
    struct backend_ranks_id id; // rank 0's
};

static bool all_are_ready(const struct readiness *all, int n, char *why, size_t size) {
    for (int k = 0; k < n; k++) {
        if (all[k].has_device != all[0].has_device)
            snprintf(why, size, "rank %d has %s and rank 0 %s; --device cpu or cuda is for all", k,
                     all[k].has_device ? "a GPU" : "no GPU", all[0].has_device ? "one" : "none");
        else if (all[k].why[0])
            snprintf(why, size, "%s", all[k].why);
        else
            continue;
        return false;
    }
    return true;
}

bool ranks_join_device(struct ranks *r, const struct backend *b, char *why, size_t size) {
    struct readiness mine = {.has_device = b != NULL};
    if (b && b->ranks_ready(mine.why, sizeof mine.why) && r->rank == 0)
        b->ranks_id(&mine.id, mine.why, sizeof mine.why);
    const struct readiness *all = ranks_gathered(r, &mine, sizeof mine);
    if (!all_are_ready(all, r->n, why, size)) return false;
    if (!b) return true;
    r->backend = b;
    r->device = b->ranks_join(&all[0].id, r->rank, r->n, why, size);
    return r->device != NULL;
}

void ranks_close(struct ranks *r) {
    if (!r) return;
    if (r->device) r->backend->ranks_leave(r->device);
    r->device = NULL;
    ranks_unwatch(r->watch);
    free(r->room);
    r->close(r);
}
