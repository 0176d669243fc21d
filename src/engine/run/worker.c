// Worker: the loop of one run: act, remember, learn, report.
#define _GNU_SOURCE
#include "engine/run/worker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/run/worker_internal.h"

enum { MAX_BATCH = 4096 };           // of algo.per_rank_batch_size
static const int64_t status_every_ns = 100000000, pictures_every_ns = 250000000, idle_ns = 5000000;

struct worker *worker_new(const struct run_opts *opts, struct feed *feed, struct error *e) {
    struct worker *w = mem_alloc(sizeof *w);
    w->opts = *opts;
    w->feed = feed;
    w->statistics.all_finite = true;
    if (!worker_configure(w, e) || !worker_build(w, e) || !worker_open_session(w, e)) {
        worker_free(w);
        return NULL;
    }
    log_write(LOG_INFO, "%s: %s %s, %lld parameters, %d threads, kernels %s", w->rom_name,
              w->full ? "agent" : "world model", w->config.preset,
              (long long)worker_n_weights(w), w->n_threads, cpu_kernels_name());
    if (w->session) log_write(LOG_INFO, "session %s", session_path(w->session));
    return w;
}

void worker_free(struct worker *w) {
    if (!w) return;
    session_close(w->session);
    worker_free_model(w);
    replay_free(w->replay);
    frames_close(w->frames, NULL);
    env_free(w->env);
    task_close(w->goal_task);
    free(w->goal_task);
    pool_free(w->pool);
    free(w->rom);
    free(w->needs_reset);
    free(w->mask);
    free(w->actions);
    free(w->obs);
    free(w->results);
    free(w->episode_return);
    free(w->episode_length);
    free(w->statistics.update_ms);
    free(w->snapshots);
    free(w->snapshot_pictures);
    free(w->reconstruction);
    free(w);
}

// ---- acting: one tick writes one row of every environment

static void end_episode(struct worker *w, int n) {
    w->episodes.n++;
    w->episodes.n_truncated += w->results[n].truncated;
    w->episodes.return_sum += w->episode_return[n];
    w->episodes.length_sum += (double)w->episode_length[n];
}

// Frames of this tick straight into the ring's next row: a reset for those that ended, a step for the others.
static void produce_rows(struct worker *w) {
    int n_envs = w->env->n_envs;
    for (int n = 0; n < n_envs; n++) w->obs[n] = replay_slot(w->replay, n);
    env_reset(w->env, w->needs_reset, w->obs);
    for (int n = 0; n < n_envs; n++) w->mask[n] = !w->needs_reset[n];
    env_step(w->env, w->mask, w->actions, w->obs, w->results);
    for (int n = 0; n < n_envs; n++) {
        struct env_step_result r = w->needs_reset[n] ? (struct env_step_result){0} : w->results[n];
        replay_write_arrival(w->replay, n, r.reward, w->needs_reset[n], r.terminated, r.truncated);
        if (w->needs_reset[n]) {
            w->episode_return[n] = 0;
            w->episode_length[n] = 0;
        } else {
            w->episode_return[n] += (double)r.reward;
            w->episode_length[n]++;
        }
        bool ended = r.terminated || r.truncated;
        if (ended) end_episode(w, n);
        w->needs_reset[n] = ended;
    }
}

// One tick. An environment that just ended stores no action (its next row is a reset row).
static bool act(struct worker *w, struct error *e) {
    int64_t t0 = clock_now_ns();
    produce_rows(w);
    if (!worker_choose_actions(w, e)) return false;
    for (int n = 0; n < w->env->n_envs; n++) {
        replay_write_action(w->replay, n, w->needs_reset[n] ? REPLAY_NO_ACTION : w->actions[n]);
        w->policy_steps += !w->needs_reset[n];
    }
    replay_commit(w->replay);
    w->env_ticks++;
    w->last_env_ms = (float)(clock_now_ns() - t0) * 1e-6f;
    return true;
}

// One tick, and the updates that it makes due. With a policy, rollout k plays with the weights after batch k-1 and batch k
// samples only rows from before rollout k, so that a rollout and its batch may run side by side with the same results.
static bool act_and_schedule(struct worker *w, int64_t prefill, struct error *e) {
    struct replay_window before = replay_window(w->replay);
    if (!act(w, e)) return false;
    bool learning = w->policy_steps >= w->config.learning_starts;
    int64_t due = learning ? ratio_due(&w->ratio, w->policy_steps - prefill) : 0;
    w->backlog += w->full ? w->due_next : due;
    w->due_next = w->full ? due : 0;
    w->window = w->full ? before : replay_window(w->replay);
    return true;
}

// The policy steps that were asked for are played: their last batch needs no further rollout.
static void schedule_last_batch(struct worker *w) {
    w->backlog = w->due_next;
    w->due_next = 0;
    w->window = replay_window(w->replay);
}

// ---- learning

static bool fail_run(struct worker *w, const struct wm_result *result, struct error *e) {
    w->statistics.all_finite = false;
    worker_write_failure(w, result);
    return error_set(e, STATUS_FAILED, "update %lld: %s is not finite (loss %g, gradient norm %g); first bad node: %s%s%s",
                     (long long)wm_opt_steps(w->wm) + 1, isfinite(result->loss) ? "the gradient norm" : "the loss",
                     result->loss, result->grad_norm, result->bad_node, w->session ? "; see failures/ in " : "",
                     w->session ? session_path(w->session) : "");
}

static bool learn(struct worker *w, struct error *e) {
    int64_t t0 = clock_now_ns();
    const struct wm_batch *b = wm_batch(w->wm);
    struct replay_batch out = {.packed = b->packed, .prev_actions = b->prev_actions, .is_first = b->is_first,
                               .rewards = b->rewards, .continues = b->continues};
    struct replay_start starts[MAX_BATCH];
    if (!replay_draw(w->replay, w->window, (uint64_t)w->config.seed, (uint64_t)wm_opt_steps(w->wm), b->length, b->batch,
                     starts, e))
        return false;
    replay_gather(w->replay, starts, b->length, b->batch, &out);
    int64_t t1 = clock_now_ns();
    struct wm_result result;
    bool fine = worker_update_model(w, &result);
    int64_t t2 = clock_now_ns();
    w->last_sample_ms = (float)(t1 - t0) * 1e-6f;
    w->last_update_ms = (float)(t2 - t1) * 1e-6f;
    return fine ? worker_record(w, e) : fail_run(w, &result, e);
}

// ---- the loop

static bool steps_played(const struct worker *w) {
    return w->opts.env_steps > 0 && w->policy_steps >= w->opts.env_steps && w->backlog == 0;
}

static bool target_reached(const struct worker *w) {
    double minutes = (double)(clock_now_ns() - w->start_ns) / 60e9;
    return control_stop_requested(feed_control(w->feed)) ||
           (w->opts.updates > 0 && wm_opt_steps(w->wm) >= w->opts.updates) ||
           (steps_played(w) && w->due_next == 0) ||
           (w->opts.minutes > 0 && minutes >= w->opts.minutes);
}

// What the screens asked for, and what they must see: between two pieces of work, never inside one.
static bool serve_screens(struct worker *w, enum feed_phase phase, struct error *e) {
    if (control_take_checkpoint(feed_control(w->feed)) && !worker_checkpoint(w, e)) return false;
    int64_t now = clock_now_ns();
    if (now - w->status_ns >= status_every_ns || phase != w->phase) {
        w->status_ns = now;
        worker_publish_status(w, phase, "");
    }
    if (w->opts.live && now - w->pictures_ns >= pictures_every_ns) {
        worker_publish_pictures(w);
        w->pictures_ns = clock_now_ns();
    }
    return true;
}

// Returns when the run may go on, or must stop. A single update may need several policy steps before it is due.
static bool wait_while_paused(struct worker *w, struct error *e) {
    struct control *c = feed_control(w->feed);
    while (control_is_paused(c) && !w->single_update && !control_stop_requested(c)) {
        w->single_update = control_take_single_update(c) && w->config.replay_ratio > 0;
        if (w->single_update) break;
        if (!serve_screens(w, PHASE_PAUSED, e)) return false;
        clock_sleep_ns(idle_ns);
    }
    return true;
}

static bool loop(struct worker *w, struct error *e) {
    int64_t starts = w->config.learning_starts / w->env->n_envs, prefill = (starts - (starts > 0)) * w->env->n_envs;
    bool learning = w->policy_steps >= w->config.learning_starts;
    while (!target_reached(w)) {
        if (!wait_while_paused(w, e)) return false;
        if (control_stop_requested(feed_control(w->feed))) break;
        if (steps_played(w)) schedule_last_batch(w);
        if (w->backlog == 0 || w->window.end - w->window.first < w->config.sequence_length) {
            if (!act_and_schedule(w, prefill, e)) return false;
            bool before = learning;
            learning = w->policy_steps >= w->config.learning_starts;
            if (learning && !before) worker_restart_rates(w);
        } else {
            if (!learn(w, e)) return false;
            w->backlog--;
            w->single_update = false;
        }
        if (!serve_screens(w, learning ? PHASE_TRAINING : PHASE_PREFILL, e)) return false;
    }
    return true;
}

static void *thread_main(void *arg) {
    struct worker *w = arg;
    w->start_ns = w->rate_ns = clock_now_ns();
    worker_publish_status(w, PHASE_PREFILL, "");
    bool fine = loop(w, &w->error);
    w->wall_s = (double)(clock_now_ns() - w->start_ns) * 1e-9;
    if (fine) {
        worker_publish_pictures(w);
        struct frames_writer *frames = w->frames;
        w->frames = NULL;
        fine = worker_checkpoint(w, &w->error) && worker_write_media(w, &w->error) && frames_close(frames, &w->error);
    }
    w->status = fine ? STATUS_OK : w->error.status;
    if (w->session) session_finish(w->session, fine ? SESSION_DONE : SESSION_FAILED, fine ? "" : w->error.message);
    worker_publish_status(w, fine ? PHASE_DONE : PHASE_FAILED, fine ? "" : w->error.message);
    return NULL;
}

void worker_start(struct worker *w) {
    CHECK(!w->started, "a worker runs once");
    w->started = true;
    CHECK(pthread_create(&w->thread, NULL, thread_main, w) == 0, "no thread for the worker");
    pthread_setname_np(w->thread, "wb-worker");
}

enum status worker_join(struct worker *w, struct error *e) {
    CHECK(w->started, "nothing to wait for");
    pthread_join(w->thread, NULL);
    if (w->status != STATUS_OK) *e = w->error;
    return w->status;
}

enum status worker_run(struct worker *w, struct error *e) {
    CHECK(!w->started, "a worker runs once");
    w->started = true;
    thread_main(w);
    if (w->status != STATUS_OK) *e = w->error;
    return w->status;
}
