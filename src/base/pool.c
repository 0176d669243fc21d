// Thread pool: runs n tasks of one function on a fixed number of threads.
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

enum { MAX_THREADS = 256, MAX_DEFAULT = 64, SPIN_TURNS = 4000 };

struct pool {
    int n_threads;
    pthread_t thread[MAX_THREADS];
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint epoch; // one more for every job
    atomic_int n_sleeping;
    atomic_bool stop;
    // The job. `claim` packs the job's epoch (high half) and the next task (low half), so a late
    // worker that still holds the old epoch can never take a task of the new job.
    _Alignas(64) atomic_ullong claim;
    _Alignas(64) atomic_int n_done;
    _Atomic(pool_task *) task;
    _Atomic(void *) ctx;
    atomic_int n_tasks;
};

static void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Takes tasks of job `epoch` until none is left.
static void work(struct pool *p, unsigned epoch) {
    for (;;) {
        unsigned long long c = atomic_load_explicit(&p->claim, memory_order_acquire);
        int n = atomic_load_explicit(&p->n_tasks, memory_order_acquire); // new n implies new claim
        if ((unsigned)(c >> 32) != epoch || (int)(unsigned)c >= n) return;
        pool_task *task = atomic_load_explicit(&p->task, memory_order_relaxed);
        void *ctx = atomic_load_explicit(&p->ctx, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&p->claim, &c, c + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        task(ctx, (int)(unsigned)c);
        atomic_fetch_add_explicit(&p->n_done, 1, memory_order_release);
    }
}

static void *thread_main(void *arg) {
    struct pool *p = arg;
    unsigned seen = 0;
    for (;;) {
        unsigned now = seen;
        for (int i = 0; i < SPIN_TURNS && now == seen; i++) {
            now = atomic_load_explicit(&p->epoch, memory_order_acquire);
            pause_cpu();
        }
        if (now == seen) {
            pthread_mutex_lock(&p->mutex);
            atomic_fetch_add(&p->n_sleeping, 1);
            while ((now = atomic_load(&p->epoch)) == seen) pthread_cond_wait(&p->wake, &p->mutex);
            atomic_fetch_sub(&p->n_sleeping, 1);
            pthread_mutex_unlock(&p->mutex);
        }
        if (atomic_load(&p->stop)) return NULL;
        work(p, now);
        seen = now;
    }
}

struct pool *pool_new(int n_threads) {
    CHECK(n_threads >= 1 && n_threads <= MAX_THREADS, "%d threads asked for", n_threads);
    struct pool *p = mem_slab_alloc(sizeof *p);
    p->n_threads = n_threads;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    for (int i = 1; i < n_threads; i++) {
        CHECK(pthread_create(&p->thread[i], NULL, thread_main, p) == 0, "no thread %d", i);
        char name[16];
        snprintf(name, sizeof name, "wb-pool-%u", (unsigned)i % 1000);
        pthread_setname_np(p->thread[i], name);
    }
    return p;
}

static void publish(struct pool *p) {
    atomic_fetch_add(&p->epoch, 1);
    if (atomic_load(&p->n_sleeping) > 0) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mutex);
    }
}

void pool_free(struct pool *p) {
    if (!p) return;
    atomic_store(&p->stop, true);
    publish(p);
    for (int i = 1; i < p->n_threads; i++) pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    mem_slab_free(p, sizeof *p);
}

int pool_usable_cpus(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > MAX_DEFAULT ? MAX_DEFAULT : n;
}

int pool_threads(const struct pool *p) { return p->n_threads; }

void pool_run(struct pool *p, int n_tasks, pool_task *task, void *ctx) {
    if (p->n_threads == 1 || n_tasks <= 1) {
        for (int i = 0; i < n_tasks; i++) task(ctx, i);
        return;
    }
    unsigned epoch = atomic_load(&p->epoch) + 1;
    atomic_store_explicit(&p->n_tasks, 0, memory_order_relaxed);
    atomic_store_explicit(&p->n_done, 0, memory_order_relaxed);
    atomic_store_explicit(&p->task, task, memory_order_relaxed);
    atomic_store_explicit(&p->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&p->claim, (unsigned long long)epoch << 32, memory_order_release);
    atomic_store_explicit(&p->n_tasks, n_tasks, memory_order_release);
    publish(p);
    work(p, epoch);
    for (int turns = 0; atomic_load_explicit(&p->n_done, memory_order_acquire) < n_tasks; turns++)
        if (turns < SPIN_TURNS)
            pause_cpu();
        else
            sched_yield();
}
