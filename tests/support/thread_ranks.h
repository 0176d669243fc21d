// Ranks that are threads of one process: the transport of tests (engine/graph/ranks.h).
//
//     struct thread_ranks t;
//     thread_ranks_init(&t, 2);      // then thread k uses &t.ranks[k]
//     thread_ranks_deinit(&t);
#ifndef TESTS_SUPPORT_THREAD_RANKS_H
#define TESTS_SUPPORT_THREAD_RANKS_H

#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "engine/graph/ranks.h"

enum { THREAD_RANKS_MAX = 4 };
struct thread_ranks {
    int n;
    pthread_barrier_t barrier;
    const void *given[THREAD_RANKS_MAX];
    int64_t call[THREAD_RANKS_MAX]; // bytes of a gather, -1 - numbers of a sum
    struct ranks ranks[THREAD_RANKS_MAX];
};

// All have come, to the same call: over MPI another one would hang or end the run.
static inline void thread_ranks_come(struct ranks *r, const void *given, int64_t call) {
    struct thread_ranks *t = r->ctx;
    t->given[r->rank] = given;
    t->call[r->rank] = call;
    pthread_barrier_wait(&t->barrier);
    for (int k = 0; k < t->n; k++)
        CHECK(t->call[k] == call, "rank %d came to call %lld, rank %d to %lld", r->rank,
              (long long)call, k, (long long)t->call[k]);
}

static void thread_ranks_sum(struct ranks *r, real *x, int64_t n) {
    struct thread_ranks *t = r->ctx;
    real *copy = malloc((size_t)n * sizeof *copy);
    memcpy(copy, x, (size_t)n * sizeof *copy);
    thread_ranks_come(r, copy, -1 - n);
    for (int64_t i = 0; i < n; i++) {
        x[i] = 0;
        for (int k = 0; k < t->n; k++) x[i] += ((const real *)t->given[k])[i];
    }
    pthread_barrier_wait(&t->barrier);
    free(copy);
}

static void thread_ranks_gather(struct ranks *r, const void *mine, void *all, int64_t bytes) {
    struct thread_ranks *t = r->ctx;
    thread_ranks_come(r, mine, bytes);
    for (int k = 0; k < t->n; k++) memcpy((char *)all + k * bytes, t->given[k], (size_t)bytes);
    pthread_barrier_wait(&t->barrier);
}

static void thread_ranks_close(struct ranks *r) { r->ctx = NULL; }

static inline void thread_ranks_init(struct thread_ranks *t, int n) {
    memset(t, 0, sizeof *t);
    t->n = n;
    pthread_barrier_init(&t->barrier, NULL, (unsigned)n);
    for (int k = 0; k < n; k++)
        t->ranks[k] = (struct ranks){.rank = k,
                                     .n = n,
                                     .sum = thread_ranks_sum,
                                     .gather = thread_ranks_gather,
                                     .close = thread_ranks_close,
                                     .ctx = t};
}

static inline void thread_ranks_deinit(struct thread_ranks *t) {
    for (int k = 0; k < t->n; k++) ranks_close(&t->ranks[k]);
    pthread_barrier_destroy(&t->barrier);
}

#endif
