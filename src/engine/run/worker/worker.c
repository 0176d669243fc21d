// Worker: the loop of one run: act, remember, learn, report.
#define _GNU_SOURCE
#include "engine/run/worker/worker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/run/bench/peak.h"
#include "engine/run/worker/worker_internal.h"

enum { MAX_BATCH = 4096 }; // of algo.per_rank_batch_size
static const int64_t status_every_ns = 100000000, pictures_every_ns = 250000000, idle_ns = 5000000;

static void say_where(const struct worker *w) {
    int64_t updates = wm_opt_steps(w->wm);
    log_write(LOG_INFO, "goes on after update %lld, policy step %lld", (long long)updates,
              (long long)(w->opts.ranks ? w->policy_steps : w->rollout.policy_steps));
    if (w->opts.updates > 0 && updates >= w->opts.updates)
        log_write(LOG_WARN, "nothing to do: --updates %lld are done already",
                  (long long)w->opts.updates);
}

// With several ranks, none opens the session before all have read what is in it and want the same.
static bool set_up(struct worker *w, struct error *e) {
    return worker_agree(w, worker_configure(w, e), e) &&
           worker_agree(w, worker_join_devices(w, e) && worker_build(w, e), e) &&
           worker_agree(w, worker_check_alike(w, e), e) &&
           worker_agree(w, worker_open_session(w, e), e) &&
           worker_agree(w, worker_share_session(w, e), e);
}

struct worker *worker_new(const struct run_opts *opts, struct feed *feed, struct error *e) {
    struct worker *w = mem_alloc(sizeof *w);
    w->opts = *opts;
    w->feed = feed;
    w->statistics.all_finite = true;
    w->saved.opt_steps = -1;
    if (ppo_run_wanted(opts)) {
        if (opts->ranks)
            worker_agree( // the others need not be of PPO
                w, error_set(e, STATUS_USAGE, "--ranks mpi: --algo ppo runs alone"), e);
        else
            w->ppo = ppo_run_new(opts, feed, e);
        if (w->ppo) return w;
        free(w);
        return NULL;
    }
    if (!set_up(w, e)) {
        worker_free(w);
        return NULL;
    }
    if (w->resume) say_where(w);
    device_say(&w->device);
    if (opts->ranks)
        log_write(LOG_INFO, "rank %d of %d: %lld environments and %lld sequences of a batch each",
                  opts->ranks->rank, opts->ranks->n, (long long)w->config.num_envs,
                  (long long)w->config.batch_size);
    log_write(LOG_INFO, "%s: %s %s %s, %lld parameters, %d threads, kernels %s", w->rom_name,
              w->algo->mode, w->config.preset, w->config.profile, (long long)w->algo->n_weights(w),
              w->n_threads, cpu_kernels_kind(w->config.autocast));
    if (w->session) log_write(LOG_INFO, "session %s", session_path(w->session));
    return w;
}

void worker_free(struct worker *w) {
    if (!w) return;
    if (w->ppo) {
        ppo_run_free(w->ppo);
        free(w);
        return;
    }
    session_close(w->session);
    worker_free_rollout(w);
    parts_free(w->parts);
    if (w->wm) w->algo->free(w);
    worker_device_free(w);
    worker_resume_free(w->resume);
    replay_free(w->replay);
    frames_close(w->frames, NULL);
    task_close(w->goal_task);
    free(w->goal_task);
    pool_free(w->pool);
    free(w->rom);
    free(w->statistics.update_ms);
    free(w->snapshots);
    free(w->snapshot_pictures);
    free(w->reconstruction);
    free(w->vectors);
    free(w);
}

// ---- the schedule: rollout k plays with the weights after batch k-1 while batch k runs; batch k
// samples only rows from before rollout k. Results are the same whether the two run side by side or
// one after the other.

static bool take_fence(struct worker *w, struct error *e) {
    struct meeting m = {.policy_steps = w->rollout.policy_steps};
    if (!worker_meet(w, &m, e)) return false;
    if (w->on_device)
        w->fence = worker_device_window(w);
    else
        w->fence = (struct fence){replay_window(w->replay), replay_total(w->replay), 0};
    w->fence.policy_steps = m.policy_steps;
    return true;
}

void worker_add_episodes(struct episode_sums *to, const struct episode_sums *from) {
    to->n += from->n;
    to->n_success += from->n_success;
    to->n_truncated += from->n_truncated;
    to->return_sum += from->return_sum;
    to->length_sum += from->length_sum;
    for (int a = 0; a < RECORD_MAX_ACTIONS; a++) to->actions[a] += from->actions[a];
    if (!from->has_distance) return;
    to->has_distance = true;
    memcpy(to->distance, from->distance, sizeof to->distance);
}

// What the finished rollout brought.
static void take_rollout(struct worker *w) {
    struct rollout *r = &w->rollout;
    worker_add_episodes(&w->episodes, &r->episodes);
    r->episodes = (struct episode_sums){0};
    w->busy.acting_ns += r->busy_ns;
    if (r->n_ticks > 0) {
        const double ticks = (double)r->n_ticks;
        w->last_env_ms = (float)((double)(r->busy_ns - r->policy_ns) / ticks * 1e-6);
        w->last_policy_ms = (float)((double)r->policy_ns / ticks * 1e-6);
    }
    r->busy_ns = r->policy_ns = r->n_ticks = 0;
}

static bool can_learn(const struct worker *w) {
    return w->backlog > 0 &&
           w->fence.window.end - w->fence.window.first >= w->config.sequence_length;
}

// A rank does not know what the others have played since the fence, so all end at one tick.
static int64_t ticks_of_rollout(const struct worker *w) {
    const int64_t most = worker_rollout_ticks(w), n = worker_all_envs(w);
    const int64_t left = (w->opts.env_steps - w->fence.policy_steps + n - 1) / n;
    return w->opts.ranks && w->opts.env_steps > 0 && left < most ? left : most;
}

// Between two batches: the rollout ends, its policy steps make the next batch due, and the next
// rollout begins beside that batch. Once the policy steps that were asked for are played, the last
// batch has none beside it.
static bool turn(struct worker *w, int64_t prefill, struct error *e) {
    if (!rollout_wait(w, e) || !worker_device_fence(w, e)) return false;
    take_rollout(w);
    if (!take_fence(w, e)) return false;
    bool learning = w->fence.policy_steps >= w->learn_from;
    if (learning) w->backlog += ratio_due(&w->ratio, w->fence.policy_steps - prefill);
    w->played_out = w->opts.env_steps > 0 && w->fence.policy_steps >= w->opts.env_steps;
    if (w->played_out) return true;
    w->algo->publish(w);
    // Whole ticks of all environments, as sheeprl counts them (spec/dreamer_v3.md 8.2).
    const int64_t n = worker_all_envs(w);
    w->rollout.at_random = w->fence.policy_steps < w->config.learning_starts / n * n;
    rollout_begin(w, learning ? ticks_of_rollout(w) : 1, can_learn(w));
    return true;
}

// ---- learning

static bool fail_run(struct worker *w, const struct wm_result *result, struct error *e) {
    w->statistics.all_finite = false;
    // On a device updates were counted, and weights handed on, that this one has kept from being.
    if (w->rollout.weights_step > wm_opt_steps(w->wm))
        w->rollout.weights_step = wm_opt_steps(w->wm);
    worker_write_failure(w, result);
    return error_set(
        e, STATUS_FAILED,
        "update %lld: %s is not finite (loss %g, gradient norm %g); first bad node: %s%s%s",
        (long long)wm_opt_steps(w->wm) + 1,
        isfinite(result->loss) ? "the gradient norm" : "the loss", result->loss, result->grad_norm,
        result->bad_node, w->session ? "; see failures/ in " : "",
        w->session ? session_path(w->session) : "");
}

bool worker_look_at_updates(struct worker *w, struct error *e) {
    struct wm_result result = {0};
    return w->algo->look(w, &result) || fail_run(w, &result, e);
}

// The next update's batch; on a device it draws its own.
static bool sample(struct worker *w, struct error *e) {
    if (w->on_device) {
        worker_device_aim(w);
        return true;
    }
    const struct wm_batch *b = wm_batch(w->wm);
    struct replay_batch out = {.packed = b->packed,
                               .vector = b->vector,
                               .prev_actions = b->prev_actions,
                               .is_first = b->is_first,
                               .rewards = b->rewards,
                               .continues = b->continues};
    struct replay_start starts[MAX_BATCH];
    if (!replay_draw(w->replay, w->fence.window, (uint64_t)w->config.seed,
                     (uint64_t)wm_opt_steps(w->wm), b->length, b->batch,
                     config_terminal_sequences(&w->config), starts, e))
        return false;
    replay_gather(w->replay, starts, b->length, b->batch, &out);
    return true;
}

static bool learn(struct worker *w, struct error *e) {
    int64_t t0 = clock_now_ns();
    if (!sample(w, e)) return false;
    int64_t t1 = clock_now_ns();
    struct wm_result result;
    bool fine = w->algo->update(w, &result);
    int64_t t2 = clock_now_ns();
    w->busy.learning_ns += t2 - t0;
    w->busy.update_ns += t2 - t1;
    w->busy.n_updates++;
    w->last_sample_ms = (float)(t1 - t0) * 1e-6f;
    w->last_update_ms = (float)(t2 - t1) * 1e-6f;
    if (fine) w->backlog--; // before a checkpoint is written
    return fine ? worker_record(w, e) : fail_run(w, &result, e);
}

// ---- the loop

static bool target_reached(const struct worker *w) {
    double minutes = (double)(clock_now_ns() - w->start_ns) / 60e9;
    return control_stop_requested(feed_control(w->feed)) ||
           (w->opts.updates > 0 && wm_opt_steps(w->wm) >= w->opts.updates) ||
           (w->played_out && w->backlog == 0) ||
           (w->opts.minutes > 0 && minutes >= w->opts.minutes);
}

// What the screens asked for, and what they must see: between two pieces of work, never inside one.
static bool serve_screens(struct worker *w, enum feed_phase phase, struct error *e) {
    if (!w->opts.ranks && control_take_checkpoint(feed_control(w->feed)) &&
        !worker_checkpoint(w, false, e))
        return false;
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

// Returns when the run may go on, or must stop. A single update may need several policy steps
// before it is due.
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

// On all ranks at the same update.
static bool agree_to_go_on(struct worker *w, bool *go_on, struct error *e) {
    struct meeting m = {.stop = target_reached(w)};
    if (!worker_meet(w, &m, e)) return false;
    *go_on = m.stop == 0;
    return true;
}

static bool loop(struct worker *w, struct error *e) {
    bool go_on;
    int64_t n = worker_all_envs(w), starts = w->config.learning_starts / n,
            prefill = (starts - (starts > 0)) * n;
    bool learning = w->fence.policy_steps >= w->learn_from;
    for (;;) {
        if (!agree_to_go_on(w, &go_on, e)) return false;
        if (!go_on) break;
        if (!w->opts.ranks && !wait_while_paused(w, e)) return false;
        if (!w->opts.ranks && control_stop_requested(feed_control(w->feed))) break;
        if (can_learn(w)) {
            if (!learn(w, e)) return false;
            w->single_update = false;
        } else if (!turn(w, prefill, e)) {
            return false;
        }
        bool before = learning;
        learning = w->fence.policy_steps >= w->learn_from;
        if (learning && !before) worker_restart_rates(w);
        if (!serve_screens(w, learning ? PHASE_TRAINING : PHASE_PREFILL, e)) return false;
    }
    return true;
}

// Whatever happened, nobody acts any more, and the last fence is what the rollout left.
static bool end_rollout(struct worker *w, bool fine, struct error *e) {
    struct error late = {0};
    if (!rollout_wait(w, &late) || !worker_device_end(w, &late)) {
        if (fine) *e = late;
        return false;
    }
    return fine;
}

static void *thread_main(void *arg) {
    struct worker *w = arg;
    if (w->ppo) {
        w->status = ppo_run_main(w->ppo, &w->error) ? STATUS_OK : w->error.status;
        return NULL;
    }
    w->peak_gflops = peak_fma_gflops(w->pool);
    w->start_ns = w->rate_ns = clock_now_ns();
    worker_publish_status(w, PHASE_PREFILL, "");
    w->busy.since_ns = w->start_ns;
    bool fine = loop(w, &w->error) && worker_look_at_updates(w, &w->error);
    fine = end_rollout(w, fine, &w->error);
    worker_write_policy_failure(w);
    w->wall_s = (double)(clock_now_ns() - w->start_ns) * 1e-9;
    if (fine) {
        worker_publish_pictures(w);
        struct frames_writer *frames = w->frames;
        w->frames = NULL;
        struct error closing = {0};
        bool closed = frames_close(frames, &closing);
        fine = worker_checkpoint(w, true, &w->error) && worker_write_media(w, &w->error);
        if (fine && !closed) {
            w->error = closing;
            fine = false;
        }
    }
    fine = worker_agree(w, fine, &w->error);
    w->status = fine ? STATUS_OK : w->error.status;
    if (w->session)
        session_finish(w->session, fine ? SESSION_DONE : SESSION_FAILED,
                       fine ? "" : w->error.message);
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
