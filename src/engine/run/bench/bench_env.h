// The environments of bench env, on the host: opened from a task's name or a ROM, stepped with
// actions that a tick and an environment's place decide, so that a device can be given the same.
//
//     struct env_field f;
//     if (env_field_open(&opts, n, NULL, pool, &f, &e)) {
//         for (...) env_field_tick(&f);   // those that ended are reset, the others step
//         ... f.obs, f.out, f.episodes ...
//     }
//     env_field_close(&f);                // also where it was not opened
//
// Thread: one, and the pool's.
#ifndef RUN_BENCH_ENV_H
#define RUN_BENCH_ENV_H

#include "engine/env/env.h"
#include "engine/env/task.h"
#include "engine/run/bench/bench.h"

enum { ENV_FIELD_TICKS = 64 }; // of actions, then again from the first

struct env_field {
    struct env *env;
    struct task task; // where has_task: what the environments borrow
    bool has_task, is_game_boy;
    uint8_t *rom;
    int32_t *actions;    // [ENV_FIELD_TICKS][n][n_heads]
    float *values;       // or [ENV_FIELD_TICKS][n][n_continuous]
    uint8_t *block;      // all observations
    uint8_t **obs;       // [n]
    uint8_t *ended, *go; // [n] at the last tick; masks of this one
    struct env_step_result *out;
    int64_t ticks, episodes; // so far; episodes that ended
    char name[64];           // of the task, or the ROM's file
};

// places [n]: whose actions environment i takes; NULL: its own. Settings and names are checked.
bool env_field_open(const struct bench_env_opts *o, int n, const int *places, struct pool *pool,
                    struct env_field *f, struct error *e);
void env_field_close(struct env_field *f);
void env_field_tick(struct env_field *f);
const int32_t *env_field_actions(const struct env_field *f, int64_t tick);

// The numbers of environments asked for: --envs, else env.num_envs, else 0.
bool env_field_envs(const struct bench_env_opts *o, int64_t *n, struct error *e);

// bench_env.c, also for the device: `play` plays so many ticks and waits. Five times, the median.
struct env_player {
    bool (*play)(struct env_player *p, int64_t ticks, int64_t *episodes, struct error *e);
};
bool bench_env_measure(struct env_player *p, int64_t steps, struct bench_env_size *out,
                       struct error *e);

#endif
