// Worker report: status, records and pictures for the feed and the session; checkpoint and failure
// folder.
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/worse.h"
#include "engine/data/checkpoint.h"
#include "engine/run/bench/peak.h"
#include "engine/run/worker/worker_internal.h"

// Of all ranks' rings.
static int64_t ring_capacity(const struct worker *w) {
    return replay_capacity(w->replay) * ranks_n(w->opts.ranks);
}

static int64_t rows_in_ring(const struct worker *w) {
    int64_t all = w->fence.rows * worker_all_envs(w), capacity = ring_capacity(w);
    return all < capacity ? all : capacity;
}

static double seconds_since(int64_t ns) { return (double)(clock_now_ns() - ns) * 1e-9; }

// Since the run began, without the time that it was not running.
static double elapsed_s(const struct worker *w) {
    return seconds_since(w->start_ns) + (w->resume ? w->resume->elapsed_s : 0);
}

// ---- status

// The prefill is hundreds of times faster than training: rates of the one must not enter the
// other's.
void worker_restart_rates(struct worker *w) {
    w->rate_ns = clock_now_ns();
    w->rate_opt_steps = wm_opt_steps(w->wm);
    w->rate_policy_steps = w->fence.policy_steps;
    w->sps = w->train_sps = 0;
    w->rates_known = false;
}

// Rates over the last second or so, so that the numbers are steady but current.
static void update_rates(struct worker *w) {
    double seconds = seconds_since(w->rate_ns);
    if (seconds < 1 && w->train_sps > 0) return;
    if (seconds < 0.2) return;
    int64_t updates = wm_opt_steps(w->wm);
    w->rates_known = true;
    w->sps = (float)((double)(w->fence.policy_steps - w->rate_policy_steps) / seconds);
    w->train_sps = (float)((double)(updates - w->rate_opt_steps) / seconds);
    w->rate_ns = clock_now_ns();
    w->rate_opt_steps = updates;
    w->rate_policy_steps = w->fence.policy_steps;
}

void worker_publish_status(struct worker *w, enum feed_phase phase, const char *message) {
    w->phase = phase;
    update_rates(w);
    struct feed_status s = {.phase = phase,
                            .opt_steps = wm_opt_steps(w->wm),
                            .env_steps = w->fence.policy_steps,
                            .target_opt_steps = w->opts.updates,
                            .replay_rows = rows_in_ring(w),
                            .replay_capacity = ring_capacity(w),
                            .replay_ratio_target = w->config.replay_ratio,
                            .elapsed_s = elapsed_s(w),
                            .sps = w->sps,
                            .train_sps = w->train_sps,
                            .n_threads = w->n_threads,
                            .n_weights = w->algo->n_weights(w)};
    snprintf(s.algo, sizeof s.algo, "dreamer_v3");
    snprintf(s.task, sizeof s.task, "%.47s", w->rom_name);
    snprintf(s.mode, sizeof s.mode, "%s", w->algo->mode);
    snprintf(s.preset, sizeof s.preset, "%.11s", w->config.preset);
    snprintf(s.device, sizeof s.device, "%s", w->device.name);
    snprintf(s.session, sizeof s.session, "%.199s", w->session ? session_path(w->session) : "");
    snprintf(s.message, sizeof s.message, "%.239s", message[0] ? message : w->warning);
    feed_set_status(w->feed, &s);
    if (w->session) {
        struct error e = {
            0}; // a heartbeat that fails is no reason to stop; the next record will tell
        session_heartbeat(w->session, s.opt_steps, s.env_steps, &e);
    }
}

// ---- records

static void put(struct record *r, enum metric m, double value) {
    r->value[m] = (float)value;
    r->present |= METRIC_BIT(m);
}

static void put_ended(struct record *r, const struct episode_sums *s, bool has_goal) {
    if (s->n == 0) return;
    put(r, METRIC_RETURN_MEAN, s->return_sum / (double)s->n);
    put(r, METRIC_LENGTH_MEAN, s->length_sum / (double)s->n);
    put(r, METRIC_TRUNC_RATE, (double)s->n_truncated / (double)s->n);
    if (has_goal) put(r, METRIC_SUCCESS_RATE, (double)s->n_success / (double)s->n);
}

static void put_episodes(struct worker *w, struct record *r, const struct episode_sums *s) {
    static const enum metric distances[] = {METRIC_DIST_P10, METRIC_DIST_P50, METRIC_DIST_P90};
    int n_actions = w->rollout.env->n_actions;
    put_ended(r, s, w->goal_task != NULL);
    for (int k = 0; k < 3 && w->goal_task && s->has_distance; k++)
        put(r, distances[k], (double)s->distance[k]);
    if (w->dreamer && !w->rollout.env->actions.n_continuous &&
        n_actions <= RECORD_MAX_ACTIONS) { // else the one action is in the config
        r->n_actions = n_actions;
        memcpy(r->action_hist, s->actions, sizeof r->action_hist);
    }
    w->episodes = (struct episode_sums){0};
}

// Rollouts run beside the gradient steps, so the shares may add up to more than 1.
static void put_shares(struct worker *w, struct record *r) {
    struct busy *b = &w->busy;
    int64_t now = clock_now_ns();
    double all = (double)(now - b->since_ns);
    if (all > 0 && !w->on_device) {
        put(r, METRIC_SHARE_ACTING, (double)b->acting_ns / all);
        put(r, METRIC_SHARE_LEARNING, (double)b->learning_ns / all);
        put(r, METRIC_SHARE_WAITING, (double)b->waiting_ns / all);
    }
    *b = (struct busy){.since_ns = now};
}

// Means over the gradient steps since the last record, so that the parts add up to the whole. What
// a step does outside its graphs is what its own time leaves.
static void put_update(struct worker *w, struct record *r) {
    const double n = (double)w->busy.n_updates, all = (double)w->busy.update_ns * 1e-6;
    struct part_time times[N_PARTS];
    double inside = 0, gflop = 0;
    parts_take(w->parts, times);
    put(r, METRIC_UPDATE_MS, n > 0 ? all / n : (double)w->last_update_ms);
    if (n == 0 || worker_stays_on_device(w)) return; // one graph: its nodes are not timed
    for (int i = 0; i < N_PARTS; i++) {
        inside += times[i].ms;
        gflop += times[i].gflop;
    }
    times[PART_OPTIMISER].ms = fmax(0, all - inside);
    for (int i = 0; i < N_PARTS; i++) {
        if (times[i].ms == 0) continue;
        put(r, part_info[i].ms, times[i].ms / n);
        if (times[i].gflop > 0) put(r, part_info[i].gflops, times[i].gflop / times[i].ms * 1e3);
    }
    const double rate = gflop / all * 1e3;
    if (rate > w->peak_gflops && !w->peak_again) { // the machine was busy when the run began
        w->peak_again = true;
        w->peak_gflops = peak_fma_at_least(w->pool, w->peak_gflops, rate);
    }
    put(r, METRIC_GFLOPS_UPDATE, rate);
    put(r, METRIC_PEAK_GFLOPS, w->peak_gflops);
}

static void put_overlap(const struct worker *w, struct record *r) {
    float actor, learner, overlap;
    if (!worker_device_times(w, &actor, &learner, &overlap)) return;
    put(r, METRIC_ACTOR_MS, (double)actor);
    put(r, METRIC_LEARNER_MS, (double)learner);
    put(r, METRIC_OVERLAP, (double)overlap);
}

static void put_timing(struct worker *w, struct record *r) {
    update_rates(w);
    put_overlap(w, r);
    if (w->rates_known) {
        put(r, METRIC_SPS, (double)w->sps);
        put(r, METRIC_TRAIN_SPS, (double)w->train_sps);
    }
    if (!w->on_device) { // else the host only enqueues them
        put(r, METRIC_ENV_MS, (double)w->last_env_ms);
        if (w->rollout.player) put(r, METRIC_POLICY_MS, (double)w->last_policy_ms);
        put(r, METRIC_SAMPLE_MS, (double)w->last_sample_ms);
    }
    put_update(w, r);
    put_shares(w, r);
    put(r, METRIC_WALL_TIME, elapsed_s(w));
}

static void add_statistics(struct worker *w, const struct record *r) {
    struct run_statistics *s = &w->statistics;
    double loss = (double)r->value[METRIC_OBS_NLL], prior = (double)r->value[METRIC_PRIOR_ENTROPY];
    double gap = fabs(prior - (double)r->value[METRIC_POSTERIOR_ENTROPY]) / fmax(1, prior);
    if (s->n_updates == 0) s->first_obs_nll = loss;
    s->obs_window[s->n_updates % OBS_WINDOW] = loss;
    s->update_ms[s->n_updates % UPDATE_MS_CAPACITY] = w->last_update_ms;
    s->n_updates++;
    if (s->n_updates > WARM_UP_UPDATES) s->worst_entropy_gap = worse(s->worst_entropy_gap, gap);
    for (int m = 0; m < METRIC_COUNT; m++)
        if (r->present >> m & 1 && !metric_info[m].timed && !isfinite(r->value[m]))
            s->all_finite = false;
}

// A record of what was just computed, where it is due.
static bool make_record(struct worker *w, int64_t updates, struct error *e) {
    struct record r = {.opt_steps = updates, .env_steps = w->fence.policy_steps};
    r.present = w->algo->metrics(w, r.value);
    put(&r, METRIC_REPLAY_SIZE, (double)rows_in_ring(w));
    put(&r, METRIC_READY_STEPS,
        (double)((w->fence.window.end - w->fence.window.first) * worker_all_envs(w)));
    put(&r, METRIC_REPLAY_RATIO,
        (double)(updates * ranks_n(w->opts.ranks)) / (double)w->fence.policy_steps);
    struct episode_sums episodes = w->episodes;
    worker_join_record(w, &r, &episodes);
    add_statistics(w, &r);
    if (updates % w->config.log_every == 0) {
        put_episodes(w, &r, &episodes);
        put_timing(w, &r);
        feed_push_record(w->feed, &r, elapsed_s(w));
        if (w->session && !session_append(w->session, &r, e)) return false;
    }
    return true;
}

bool worker_record(struct worker *w, struct error *e) {
    const int64_t updates = wm_opt_steps(w->wm);
    const bool known = !worker_stays_on_device(w) || updates % w->config.log_every == 0;
    if (known && (!worker_device_look(w, e) || !worker_device_look_at_policy(w, e) ||
                  !make_record(w, updates, e)))
        return false;
    if (!worker_take_snapshot(w, e)) return false;
    if (w->config.checkpoint_every > 0 && updates % w->config.checkpoint_every == 0)
        return worker_checkpoint(w, false, e);
    return true;
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

// Observation loss of the per-pixel mean picture over environment 0's rows in the ring, wherever it
// is: what a model that knows no time could reach. NaN where a device does not give its rows.
static double mean_picture_loss(const struct worker *w) {
    if (!wm_has_pictures(w->wm)) return 0;
    double *sum = mem_alloc(2 * FEED_PIXELS * sizeof *sum), *square = sum + FEED_PIXELS, loss = 0;
    uint8_t(*rows)[WM_PACKED_BYTES] = mem_alloc(WM_ROLLOUT * sizeof *rows);
    const struct replay_batch to = {.packed = rows[0]};
    const int64_t first = worker_first_row(w), end = worker_end_row(w);
    bool fine = true;
    int length;
    for (int64_t t = first; t < end && fine; t += length) {
        length = end - t < WM_ROLLOUT ? (int)(end - t) : WM_ROLLOUT;
        fine = worker_rows_before(w, t + length, length, &to);
        for (int k = 0; k < length * FEED_PIXELS; k++) {
            const int i = k % FEED_PIXELS;
            const uint8_t *row = rows[k / FEED_PIXELS];
            const double v = (double)(row[i >> 2] >> (2 * (i & 3)) & 3) / 3;
            sum[i] += v;
            square[i] += v * v;
        }
    }
    const double n = (double)(end - first);
    for (int i = 0; i < FEED_PIXELS && n > 0; i++)
        loss += square[i] / n - sum[i] / n * (sum[i] / n);
    free(rows);
    free(sum);
    return fine ? loss : NAN;
}

void worker_summary(const struct worker *w, struct worker_summary *out) {
    if (w->ppo) {
        ppo_run_summary(w->ppo, out);
        return;
    }
    const struct run_statistics *s = &w->statistics;
    *out = (struct worker_summary){.opt_steps = wm_opt_steps(w->wm),
                                   .env_steps =
                                       w->opts.ranks ? w->policy_steps : w->rollout.policy_steps,
                                   .wall_s = w->wall_s,
                                   .first_obs_nll = s->first_obs_nll,
                                   .worst_entropy_gap = s->worst_entropy_gap,
                                   .all_finite = s->all_finite,
                                   .on_device = w->on_device != NULL,
                                   .mean_picture_loss = mean_picture_loss(w)};
    int64_t n = s->n_updates < OBS_WINDOW ? s->n_updates : OBS_WINDOW;
    for (int64_t i = 0; i < n; i++) out->last_obs_nll += s->obs_window[i] / (double)n;
    int64_t m = s->n_updates < UPDATE_MS_CAPACITY ? s->n_updates : UPDATE_MS_CAPACITY;
    if (m > 0) {
        float *sorted = mem_alloc((size_t)m * sizeof *sorted);
        memcpy(sorted, s->update_ms, (size_t)m * sizeof *sorted);
        qsort(sorted, (size_t)m, sizeof *sorted, compare_floats);
        out->update_ms = (double)sorted[m / 2];
        free(sorted);
    }
    snprintf(out->session, sizeof out->session, "%.199s",
             w->session ? session_path(w->session) : "");
}
