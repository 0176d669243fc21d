// Benchmark of a task's environments on a device: machines, rewards, resets and pictures into the
// ring's rows, with a sample of them played again on the CPU.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "emu/gb_action.h"
#include "engine/env/device_env.h"
#include "engine/graph/backend.h"
#include "engine/run/bench/bench_env.h"

enum { RING_ROWS = 32, LENGTH = 8, SAMPLE = 32 };

struct device_player {
    struct env_player player;
    const struct device_play *play;
    struct env_field field; // what the machines are made from; the actions
    struct device_env *machines;
    struct device_ring *ring;
    int64_t ticks;
};

static bool failed(const struct device_player *p, struct error *e) {
    return error_set(e, STATUS_FAILED, "bench env: %s", p->play->ring_message(p->ring));
}

static bool open_player(struct device_player *p, const struct bench_env_opts *o, int n,
                        struct error *e) {
    char why[BACKEND_MESSAGE_SIZE] = "no device was chosen";
    const struct backend *b = backend_chosen();
    if (!env_field_open(o, n, NULL, NULL, &p->field, e)) return false;
    if (!p->field.is_game_boy)
        return error_set(e, STATUS_USAGE,
                         "bench env: --task %s is no Game Boy; its environments are the host's: "
                         "leave --device out",
                         p->field.name);
    const struct device_ring_opts ring = {.rows = RING_ROWS,
                                          .n_envs = n,
                                          .n_actions = p->field.env->n_actions,
                                          .commit_stride = 1,
                                          .max_length = LENGTH,
                                          .max_batch = 1};
    if ((p->play = b ? device_play_of(b, why, sizeof why) : NULL) &&
        (p->machines = device_env_new(b, p->field.env, why, sizeof why)))
        p->ring = p->play->ring_new(&ring, device_env_machines(p->machines), why, sizeof why);
    return p->ring || error_set(e, STATUS_FAILED, "bench env: %s", why);
}

static void close_player(struct device_player *p) {
    if (p->play) p->play->ring_free(p->ring);
    device_env_free(p->machines);
    env_field_close(&p->field);
}

// Until all of it is done: the sums that are fetched are a few bytes. What a row is given is done
// at the next tick.
static bool play_on_device(struct env_player *player, int64_t ticks, int64_t *episodes,
                           struct error *e) {
    struct device_player *p = (struct device_player *)player;
    struct device_sums sums;
    for (int64_t t = 0; t < ticks; t++, p->ticks++)
        if (!p->play->ring_tick(p->ring) ||
            !p->play->ring_act(p->ring, env_field_actions(&p->field, p->ticks + 1), false) ||
            !p->play->ring_commit(p->ring))
            return failed(p, e);
    if (!p->play->ring_fence(p->ring) || !p->play->ring_sums(p->ring, &sums, NULL))
        return failed(p, e);
    *episodes = (int64_t)sums.n;
    return true;
}

// ---- the sample on the CPU: the last rows of some environments

struct rows { // of one environment, [LENGTH]
    uint8_t packed[LENGTH][ENV_OBS_BYTES];
    real reward[LENGTH], continues[LENGTH], is_first[LENGTH];
};

static bool same_row(const struct rows *r, int64_t at, const struct env_field *f, int k) {
    const bool reset = !f->go[k], ended = !reset && f->out[k].terminated;
    return memcmp(r->packed[at], f->obs[k], ENV_OBS_BYTES) == 0 &&
           r->reward[at] == (real)(reset ? 0 : f->out[k].reward) &&
           r->continues[at] == (real)!ended && (at == 0 || r->is_first[at] == (real)reset);
}

static bool check(struct device_player *p, const struct bench_env_opts *o, struct pool *pool,
                  struct bench_env_size *out, struct error *e) {
    const int all = out->n_envs, n = all < SAMPLE ? all : SAMPLE;
    const int64_t length = p->ticks < LENGTH ? p->ticks : LENGTH, from = p->ticks - length;
    struct rows *rows = mem_alloc((size_t)n * sizeof *rows);
    struct env_field cpu = {0};
    int places[SAMPLE], n_wrong = 0;
    bool fine = true;
    for (int k = 0; k < n && fine; k++) { // first, last and others at even distances
        const struct device_batch to = {.packed = rows[k].packed[0],
                                        .rewards = rows[k].reward,
                                        .continues = rows[k].continues,
                                        .is_first = rows[k].is_first};
        places[k] = n == 1 ? 0 : (int)((int64_t)k * (all - 1) / (n - 1));
        fine = (p->play->ring_rows(p->ring, places[k], p->ticks, (int)length) &&
                p->play->ring_fetch(p->ring, &to)) ||
               failed(p, e);
    }
    fine = fine && env_field_open(o, n, places, pool, &cpu, e);
    bool wrong[SAMPLE] = {0};
    for (int64_t t = 0; t < p->ticks && fine; t++) {
        env_field_tick(&cpu);
        for (int k = 0; k < n && t >= from; k++) wrong[k] |= !same_row(&rows[k], t - from, &cpu, k);
    }
    for (int k = 0; k < n; k++) n_wrong += wrong[k];
    env_field_close(&cpu);
    free(rows);
    out->n_checked = n;
    if (!fine || n_wrong == 0) return fine;
    return error_set(e, STATUS_FAILED,
                     "bench env: the last rows of %d of %d environments on the device are not the "
                     "CPU's after %lld ticks",
                     n_wrong, n, (long long)p->ticks);
}

bool bench_env_device(const struct bench_env_opts *o, struct bench_env_result *r, struct error *e) {
    static const int sizes[BENCH_MAX_SIZES] = {1024, 4096, 16384, 65536};
    int64_t wanted = 0;
    *r = (struct bench_env_result){.frames_per_step = GB_FRAMES_PER_STEP,
                                   .obs_bytes = ENV_OBS_BYTES};
    if (!bench_check_limit("--threads", o->n_threads, BENCH_MAX_THREADS, e) ||
        !env_field_envs(o, &wanted, e))
        return false;
    r->n_threads = o->n_threads > 0 ? (int)o->n_threads : pool_usable_cpus();
    struct pool *pool = pool_new(r->n_threads);
    bool fine = true;
    for (int i = 0; fine && i < (wanted ? 1 : BENCH_MAX_SIZES); i++) {
        struct device_player p = {.player = {play_on_device}};
        struct bench_env_size *s = &r->size[r->n_sizes++];
        s->n_envs = wanted ? (int)wanted : sizes[i];
        fine = open_player(&p, o, s->n_envs, e);
        if (fine) snprintf(r->task, sizeof r->task, "%s", p.field.name);
        fine = fine && bench_env_measure(&p.player, o->steps, s, e) && check(&p, o, pool, s, e);
        close_player(&p);
    }
    pool_free(pool);
    return fine;
}
