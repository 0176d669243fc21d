// Worker device: machines and replay ring of a run on the device that it learns on, so that between
// two records nothing crosses the bus.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/algo/dreamer_v3/player_graph.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "engine/env/device_env.h"
#include "engine/env/gameboy.h"
#include "engine/run/worker/worker_internal.h"

struct on_device {
    const struct device_play *play;
    struct device_env *machines;
    struct device_ring *ring;
    bool fenced;     // there are sums that nobody has read, of rows before the worker's fence
    bool warned;     // that a machine is locked
    bool holds;      // the ring has the actions that never change
    float *distance; // [n_envs]
};

// ---- whether

// What keeps machines and replay on the host, NULL: nothing.
static const char *obstacle(const struct worker *w) {
    const struct env *env = w->rollout.env;
    if (strcmp(w->config.env_device, "host") == 0) return "env.device=host";
    if (w->control) return "the task is no Game Boy";
    if (env->actions.n_heads != 1 || env->n_actions > DEVICE_MAX_ACTIONS) return "its actions";
    if (w->config.buffer_memmap) return "buffer.memmap=true";
    if (w->opts.ranks) return "several ranks";
    return NULL;
}

static bool failed(const struct on_device *d, struct error *e) {
    return error_set(e, STATUS_FAILED, "device: %s", d->play->ring_message(d->ring));
}

// ---- life

static bool make(struct worker *w, struct on_device *d, char *why, size_t size) {
    const struct config *cfg = &w->config;
    const struct env *env = w->rollout.env;
    if (!(d->play = device_play_of(backend_chosen(), why, size)) ||
        !(d->machines = device_env_new(backend_chosen(), w->rollout.env, why, size)))
        return false;
    const struct device_ring_opts o = {.rows = cfg->buffer_size / cfg->num_envs,
                                       .n_envs = env->n_envs,
                                       .n_actions = env->n_actions,
                                       .guard = worker_rollout_ticks(w),
                                       .commit_stride = 1,
                                       .max_length = WM_ROLLOUT, // for pictures
                                       .max_batch = 1};
    d->ring = d->play->ring_new(&o, device_env_machines(d->machines), why, size);
    return d->ring != NULL;
}

bool worker_device_build(struct worker *w, struct error *e) {
    char why[BACKEND_MESSAGE_SIZE] = "";
    if (!backend_chosen()) return true;
    const char *no = obstacle(w);
    snprintf(w->device.play, sizeof w->device.play, "machines and replay on the %s%s%s%s",
             no ? "host" : "device", no ? " (" : "", no ? no : "", no ? ")" : "");
    if (no) return true;
    struct on_device *d = w->on_device = mem_alloc(sizeof *d);
    d->distance = mem_alloc((size_t)w->rollout.env->n_envs * sizeof *d->distance);
    return make(w, d, why, sizeof why) ||
           error_set(e, STATUS_FAILED,
                     "machines and replay on the device: %s; env.device=host "
                     "keeps them on the host",
                     why);
}

struct device_ring *worker_device_ring(const struct worker *w) {
    return w->on_device ? w->on_device->ring : NULL;
}

void worker_device_connect(struct worker *w) {
    const struct on_device *d = w->on_device;
    if (!d) return;
    const struct backend *b = backend_chosen();
    const struct backend_graph *on = executor_device(wm_executor(w->wm));
    const struct wm_batch *batch = wm_batch(w->wm);
    const struct wm_tensors t = wm_tensors(w->wm);
    const struct device_batch_at at = {.packed = b->address(on, t.packed),
                                       .prev_actions = b->address(on, t.prev_actions),
                                       .rewards = b->address(on, t.rewards),
                                       .continues = b->address(on, t.continues),
                                       .is_first = b->address(on, t.is_first)};
    if (!d->play->ring_batch_into(d->ring, &at, batch->length, batch->batch))
        device_lost("the replay's batch on the device", d->play->ring_message(d->ring));
    if (w->rollout.player) player_stay_on_device(w->rollout.player, d->ring);
}

void worker_device_free(struct worker *w) {
    struct on_device *d = w->on_device;
    if (!d) return;
    if (d->play) {
        d->play->ring_free(d->ring);
        device_env_free(d->machines);
    }
    free(d->distance);
    free(d);
}

// ---- playing: everything is enqueued, the host only counts

bool worker_device_tick(struct worker *w) {
    struct rollout *r = &w->rollout;
    const struct on_device *d = w->on_device;
    if (!d->play->ring_tick(d->ring)) return failed(d, &r->error);
    if (!w->algo->choose(w, &r->error)) return false;
    if (!d->play->ring_commit(d->ring)) return failed(d, &r->error);
    // Those that ended made none: worker_device_look takes them off.
    r->policy_steps += r->env->n_envs;
    r->env_ticks++;
    return true;
}

bool worker_device_act(struct worker *w, struct error *e) {
    const struct on_device *d = w->on_device;
    return d->play->ring_act(d->ring, w->rollout.actions, false) || failed(d, e);
}

bool worker_device_hold(struct worker *w, struct error *e) {
    struct on_device *d = w->on_device;
    const int32_t *actions = d->holds ? NULL : w->rollout.actions;
    d->holds = true;
    return d->play->ring_act(d->ring, actions, false) || failed(d, e);
}

struct fence worker_device_window(const struct worker *w) {
    const struct on_device *d = w->on_device;
    struct fence f = {.rows = d->play->ring_total(d->ring),
                      .policy_steps = w->rollout.policy_steps};
    d->play->ring_window(d->ring, &f.window.first, &f.window.end);
    return f;
}

void worker_device_aim(struct worker *w) {
    const struct on_device *d = w->on_device;
    d->play->ring_aim(d->ring, w->fence.window.first, w->fence.window.end);
}

// ---- looking

static void take_distances(struct worker *w, struct episode_sums *to) {
    const struct on_device *d = w->on_device;
    float *known = w->rollout.distances;
    int64_t n = 0;
    for (int i = 0; i < w->rollout.env->n_envs; i++)
        if (d->distance[i] >= 0) known[n++] = d->distance[i];
    for (int k = 0; k < 3 && n > 0; k++)
        to->distance[k] = (float)stats_quantile(known, n, 0.1 + 0.4 * k);
    if (n > 0) to->has_distance = true;
}

// What the last fence brought; *n: how many episodes ended, whose last rows are no policy steps.
static bool read_sums(struct worker *w, struct episode_sums *to, int64_t *n, struct error *e) {
    const struct on_device *d = w->on_device;
    struct device_sums s;
    if (!d->play->ring_sums(d->ring, &s, d->distance)) return failed(d, e);
    *n = (int64_t)s.n;
    to->n += (int64_t)s.n;
    to->n_success += (int64_t)s.n_success;
    to->n_truncated += (int64_t)s.n_truncated;
    to->return_sum += s.return_sum;
    to->length_sum += s.length_sum;
    for (int a = 0; a < RECORD_MAX_ACTIONS && a < w->rollout.env->n_actions; a++)
        to->actions[a] += (int64_t)s.actions[a];
    take_distances(w, to);
    if (s.n_locked > 0 && !w->on_device->warned) {
        w->on_device->warned = true;
        log_write(LOG_WARN, "ROM %s: a machine stands still: an opcode that does not exist",
                  w->rom_name);
    }
    w->rollout.policy_steps -= *n;
    return true;
}

bool worker_device_look(struct worker *w, struct error *e) {
    struct on_device *d = w->on_device;
    int64_t n;
    if (!d || !d->fenced) return true;
    if (!read_sums(w, &w->episodes, &n, e)) return false;
    d->fenced = false;
    w->fence.policy_steps -= n;
    return true;
}

// What the host counts is too many by the episodes that ended since it last looked. So it looks
// where the count decides: before learning begins, and before the last step.
bool worker_device_fence(struct worker *w, struct error *e) {
    struct on_device *d = w->on_device;
    const struct rollout *r = &w->rollout;
    if (!d || d->play->ring_total(d->ring) == 0) return true;
    if (!d->play->ring_fence(d->ring)) return failed(d, e);
    d->fenced = true;
    const bool last = w->opts.env_steps > 0 && r->policy_steps >= w->opts.env_steps;
    return (w->fence.policy_steps >= w->learn_from && !last) || worker_device_look(w, e);
}

// A policy step that was not finite has stopped the player's program.
bool worker_device_look_at_policy(struct worker *w, struct error *e) {
    struct rollout *r = &w->rollout;
    int64_t tick = 0;
    if (!w->on_device || !r->player || player_look(r->player, &tick, r->bad_node)) return true;
    const struct player_in *in = &player_nodes(r->player)->in;
    for (int n = 0; n < r->env->n_envs; n++) {
        r->obs[n] = (uint8_t *)in->packed->data + (size_t)n * WM_PACKED_BYTES;
        r->reset_now[n] = ((const real *)in->reset->data)[n] != 0;
    }
    r->env_ticks = tick;
    r->fine = false;
    worker_policy_failed(w, &r->error);
    *e = r->error;
    return false;
}

bool worker_device_times(const struct worker *w, float *actor_ms, float *learner_ms,
                         float *overlap) {
    const struct on_device *d = w->on_device;
    struct device_times t;
    if (!d || !d->play->ring_times(d->ring, &t)) return false;
    const double shorter = fmin(t.actor_ms, t.learner_ms);
    *actor_ms = (float)t.actor_ms;
    *learner_ms = (float)t.learner_ms;
    *overlap = shorter > 0 ? (float)(t.both_ms / shorter) : 0;
    return true;
}

// Of the fence, then of the rollout beside this batch: those are the rollout's, as on the host.
static bool take_sums(struct worker *w, struct error *e) {
    const struct on_device *d = w->on_device;
    int64_t n;
    if (!worker_device_look(w, e)) return false;
    if (w->rollout.n_ticks == 0) return true;
    return d->play->ring_fence(d->ring) ? read_sums(w, &w->rollout.episodes, &n, e) : failed(d, e);
}

bool worker_device_end(struct worker *w, struct error *e) {
    const struct on_device *d = w->on_device;
    if (!d || d->play->ring_total(d->ring) == 0) return true;
    return take_sums(w, e) && worker_device_look_at_policy(w, e);
}

// ---- checkpoints

static struct device_rows mirror(struct worker *w) {
    const size_t n = (size_t)w->rollout.env->n_envs;
    const struct replay_arrays a = replay_arrays(w->replay);
    return (struct device_rows){.total = replay_total(w->replay),
                                .obs = a.obs,
                                .action = a.action,
                                .episode = a.episode_id,
                                .reward = a.reward,
                                .is_first = a.is_first,
                                .terminated = a.terminated,
                                .truncated = a.truncated,
                                .episode_return = w->rollout.episode_return,
                                .episode_length = mem_alloc(n * sizeof(double))};
}

static void take_last_row(struct worker *w) {
    struct rollout *r = &w->rollout;
    for (int n = 0; n < r->env->n_envs; n++) {
        const struct replay_row row = replay_row(w->replay, replay_total(w->replay) - 1, n);
        r->needs_reset[n] = row.terminated || row.truncated;
        r->actions[n] = row.action >= 0 ? row.action : 0;
    }
}

bool worker_device_fetch(struct worker *w, struct error *e) {
    struct on_device *d = w->on_device;
    struct rollout *r = &w->rollout;
    char why[BACKEND_MESSAGE_SIZE] = "";
    if (!d || d->play->ring_total(d->ring) == 0) return true;
    if (!worker_device_end(w, e)) return false;
    if (r->player) player_sync(r->player, true);
    struct device_rows rows = mirror(w);
    bool fine = d->play->ring_save(d->ring, &rows) || failed(d, e);
    if (fine) {
        replay_set_total(w->replay, rows.total);
        take_last_row(w);
        for (int n = 0; n < r->env->n_envs; n++)
            r->episode_length[n] = (int64_t)rows.episode_length[n];
        fine = device_env_fetch(d->machines, why, sizeof why) ||
               error_set(e, STATUS_FAILED, "device: %s", why);
        for (int n = 0; n < r->env->n_envs; n++) env_gameboy_end(r->env, n, r->needs_reset[n]);
    }
    free(rows.episode_length);
    return fine;
}

bool worker_device_store(struct worker *w, struct error *e) {
    struct on_device *d = w->on_device;
    struct rollout *r = &w->rollout;
    char why[BACKEND_MESSAGE_SIZE] = "";
    if (!d) return true;
    if (r->player) player_sync(r->player, false);
    if (replay_total(w->replay) == 0) return true; // it begins anew
    struct device_rows from = mirror(w);
    for (int n = 0; n < r->env->n_envs; n++) from.episode_length[n] = (double)r->episode_length[n];
    const bool fine = (d->play->ring_load(d->ring, &from) || failed(d, e)) &&
                      (device_env_store(d->machines, why, sizeof why) ||
                       error_set(e, STATUS_FAILED, "device: %s", why));
    free(from.episode_length);
    return fine;
}

int64_t worker_first_row(const struct worker *w) {
    return w->on_device ? worker_device_window(w).window.first : replay_window(w->replay).first;
}

int64_t worker_end_row(const struct worker *w) {
    return w->on_device ? w->on_device->play->ring_total(w->on_device->ring)
                        : replay_total(w->replay);
}

bool worker_rows_before(const struct worker *w, int64_t end, int length,
                        const struct replay_batch *out) {
    const struct on_device *d = w->on_device;
    if (!d) return replay_rows_before(w->replay, 0, end, length, out);
    const struct device_batch to = {
        .packed = out->packed, .prev_actions = out->prev_actions, .is_first = out->is_first};
    return length <= end && d->play->ring_rows(d->ring, 0, end, length) &&
           d->play->ring_fetch(d->ring, &to);
}
