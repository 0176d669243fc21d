// Rollout buffer: single packed frames, ages, and the arrays of one rollout.
#include "engine/algo/ppo/ppo_rollout.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

static int64_t n_cells(const struct ppo_rollout_opts *o) { return o->n_steps * o->n_envs; }
static int64_t n_rows(const struct ppo_rollout_opts *o) { return o->stack - 1 + o->n_steps + 1; }

struct ppo_rollout *ppo_rollout_new(const struct ppo_rollout_opts *o) {
    CHECK(o->n_steps >= 1 && o->n_envs >= 1 && o->stack >= 1 && o->stack <= ROLLOUT_MAX_STACK,
          "a rollout of %lld x %lld, stack %d", (long long)o->n_steps, (long long)o->n_envs,
          o->stack);
    struct ppo_rollout *r = mem_alloc(sizeof *r);
    const size_t cells = (size_t)n_cells(o), rows = (size_t)(n_rows(o) * o->n_envs);
    r->opts = *o;
    r->frames = mem_slab_alloc(rows * ROLLOUT_FRAME_BYTES);
    r->ages = mem_alloc(rows);
    r->actions = mem_alloc(cells * sizeof *r->actions);
    real **arrays[] = {&r->log_probs,    &r->values,     &r->rewards,
                       &r->final_values, &r->advantages, &r->returns};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = mem_alloc(cells * sizeof(real));
    r->dones = mem_alloc(cells);
    r->truncs = mem_alloc(cells);
    r->distances = mem_alloc(cells * sizeof *r->distances);
    r->last_values = mem_alloc((size_t)o->n_envs * sizeof(real));
    return r;
}

void ppo_rollout_free(struct ppo_rollout *r) {
    if (!r) return;
    mem_slab_free(r->frames, (size_t)(n_rows(&r->opts) * r->opts.n_envs) * ROLLOUT_FRAME_BYTES);
    void *const heap[] = {r->ages,    r->actions,      r->log_probs,  r->values,
                          r->rewards, r->final_values, r->advantages, r->returns,
                          r->dones,   r->truncs,       r->distances,  r->last_values,
                          r};
    for (size_t i = 0; i < sizeof heap / sizeof *heap; i++) free(heap[i]);
}

int64_t ppo_rollout_bytes(const struct ppo_rollout_opts *o) {
    const int64_t per_cell = (int64_t)(sizeof(int32_t) + 6 * sizeof(real) + 2 + sizeof(float));
    return n_rows(o) * o->n_envs * (ROLLOUT_FRAME_BYTES + 1) + n_cells(o) * per_cell;
}

static int64_t cell(const struct ppo_rollout *r, int64_t t, int64_t env) {
    CHECK(t >= 1 - r->opts.stack && t <= r->opts.n_steps && env >= 0 && env < r->opts.n_envs,
          "step %lld of environment %lld", (long long)t, (long long)env);
    return (t + r->opts.stack - 1) * r->opts.n_envs + env;
}

uint8_t *ppo_rollout_frame(const struct ppo_rollout *r, int64_t t, int64_t env) {
    return r->frames + cell(r, t, env) * ROLLOUT_FRAME_BYTES;
}

void ppo_rollout_restart(struct ppo_rollout *r, int64_t t, int64_t env) {
    r->ages[cell(r, t, env)] = 0;
}

void ppo_rollout_continue(struct ppo_rollout *r, int64_t t, int64_t env) {
    const int age = r->ages[cell(r, t - 1, env)] + 1;
    r->ages[cell(r, t, env)] = (uint8_t)(age < r->opts.stack - 1 ? age : r->opts.stack - 1);
}

void ppo_rollout_stack(const struct ppo_rollout *r, int64_t t, int64_t env, uint8_t *out) {
    const int newest = r->opts.stack - 1, age = r->ages[cell(r, t, env)];
    for (int k = 0; k <= newest; k++) {
        const int back = newest - k < age ? newest - k : age;
        memcpy(out + k * ROLLOUT_FRAME_BYTES, ppo_rollout_frame(r, t - back, env),
               ROLLOUT_FRAME_BYTES);
    }
}

void ppo_rollout_final_stack(const struct ppo_rollout *r, int64_t t, int64_t env,
                             const uint8_t *last, uint8_t *out) {
    const int newest = r->opts.stack - 1, age = r->ages[cell(r, t, env)];
    for (int k = 0; k < newest; k++) {
        const int back = newest - 1 - k < age ? newest - 1 - k : age; // from t on
        memcpy(out + k * ROLLOUT_FRAME_BYTES, ppo_rollout_frame(r, t - back, env),
               ROLLOUT_FRAME_BYTES);
    }
    memcpy(out + newest * ROLLOUT_FRAME_BYTES, last, ROLLOUT_FRAME_BYTES);
}

void ppo_rollout_add(struct ppo_rollout *r, const struct ppo_rollout_row *row, int n_actions) {
    CHECK(!ppo_rollout_is_full(r), "the rollout is full after %lld steps", (long long)r->n_added);
    const size_t n = (size_t)r->opts.n_envs, at = (size_t)r->n_added * n;
    for (size_t i = 0; i < n; i++)
        CHECK(row->actions[i] >= 0 && row->actions[i] < n_actions, "action %d of %d",
              row->actions[i], n_actions);
    memcpy(r->actions + at, row->actions, n * sizeof *row->actions);
    memcpy(r->log_probs + at, row->log_probs, n * sizeof(real));
    memcpy(r->values + at, row->values, n * sizeof(real));
    memcpy(r->rewards + at, row->rewards, n * sizeof(real));
    memcpy(r->dones + at, row->dones, n);
    memcpy(r->truncs + at, row->truncs, n);
    memcpy(r->distances + at, row->distances, n * sizeof *row->distances);
    r->n_added++;
}

bool ppo_rollout_is_full(const struct ppo_rollout *r) { return r->n_added == r->opts.n_steps; }

void ppo_rollout_carry(struct ppo_rollout *r) {
    CHECK(ppo_rollout_is_full(r), "the rollout has %lld of %lld steps", (long long)r->n_added,
          (long long)r->opts.n_steps);
    const size_t n = (size_t)r->opts.n_envs, rows = (size_t)r->opts.stack;
    const size_t from = (size_t)r->opts.n_steps * n;
    memmove(r->frames, r->frames + from * ROLLOUT_FRAME_BYTES, rows * n * ROLLOUT_FRAME_BYTES);
    memmove(r->ages, r->ages + from, rows * n);
    r->n_added = 0;
}

size_t ppo_rollout_memory_bytes(const struct ppo_rollout *r) {
    return (size_t)(r->opts.stack * r->opts.n_envs) * (ROLLOUT_FRAME_BYTES + 1);
}

void ppo_rollout_memory_save(const struct ppo_rollout *r, uint8_t *out) {
    CHECK(r->n_added == 0, "the rollout holds %lld steps", (long long)r->n_added);
    const size_t n = (size_t)(r->opts.stack * r->opts.n_envs);
    memcpy(out, r->frames, n * ROLLOUT_FRAME_BYTES);
    memcpy(out + n * ROLLOUT_FRAME_BYTES, r->ages, n);
}

void ppo_rollout_memory_load(struct ppo_rollout *r, const uint8_t *in) {
    const size_t n = (size_t)(r->opts.stack * r->opts.n_envs);
    r->n_added = 0;
    memcpy(r->frames, in, n * ROLLOUT_FRAME_BYTES);
    memcpy(r->ages, in + n * ROLLOUT_FRAME_BYTES, n);
    for (size_t i = 0; i < n; i++) // a damaged file must not reach before the history
        if (r->ages[i] >= r->opts.stack) r->ages[i] = (uint8_t)(r->opts.stack - 1);
}
