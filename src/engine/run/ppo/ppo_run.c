// PPO run: the loop of one run: play a rollout, learn from it, report.
#define _GNU_SOURCE
#include "engine/run/ppo/ppo_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/worse.h"
#include "engine/data/plot.h"
#include "engine/run/ppo/ppo_run_internal.h"

static const int64_t status_every_ns = 100000000, pictures_every_ns = 250000000, idle_ns = 5000000;
enum { LEVELS_PER_SHADE = 85, PICTURES = 3 };

static int64_t updates_done(const struct ppo_run *r) { return ppo_counters(r->agent)->updates; }

static double elapsed_s(const struct ppo_run *r) {
    return r->elapsed_before_s + (double)(clock_now_ns() - r->start_ns) * 1e-9;
}

// What the run will take, before it takes it: most of it is touched in the first update only.
static void say_size(const struct ppo_run *r) {
    const struct ppo_opts *o = ppo_options(r->agent);
    const double need = (double)(ppo_bytes(r->agent) + ppo_rollout_bytes(&r->rollout->opts)),
                 have = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    log_write(LOG_INFO,
              "PPO on %s: about %.0f MB, %lld environments x %lld steps, %lld parameters, %d "
              "threads, kernels %s",
              r->name, need / 1e6, (long long)o->n_envs, (long long)o->n_steps,
              (long long)ppo_params(r->agent)->n_weights, r->n_threads, cpu_kernels_name());
    if (r->on_device)
        log_write(LOG_INFO, "memory of the device: about %.0f MB",
                  (double)ppo_device_bytes(r->on_device) / 1e6);
    if (need > have)
        log_write(LOG_WARN,
                  "that is more than this machine's %.0f MB: take more algo.minibatches, fewer "
                  "env.num_envs or algo.rollout_steps",
                  have / 1e6);
}

struct ppo_run *ppo_run_new(const struct run_opts *opts, struct feed *feed, struct error *e) {
    struct ppo_run *r = mem_alloc(sizeof *r);
    r->opts = *opts;
    r->feed = feed;
    r->all_finite = true;
    r->saved_updates = -1;
    if (!ppo_run_configure(r, e) || !ppo_run_build(r, e) || !ppo_run_open_session(r, e)) {
        ppo_run_free(r);
        return NULL;
    }
    say_size(r);
    device_say(&r->device);
    if (r->session) log_write(LOG_INFO, "session %s", session_path(r->session));
    return r;
}

void ppo_run_free(struct ppo_run *r) {
    if (!r) return;
    session_close(r->session);
    frames_close(r->frames, NULL);
    ppo_device_free(r->on_device);
    collect_free(r->collect);
    ppo_rollout_free(r->rollout);
    ppo_free(r->agent);
    env_free(r->env);
    env_free(r->eval_env);
    task_close(r->task);
    free(r->task);
    ppo_run_free_boundary(&r->boundary);
    pool_free(r->pool);
    free(r);
}

// ---- what the screens see

static void publish_status(struct ppo_run *r, enum feed_phase phase, const char *message) {
    const struct ppo_rollout_opts *size = &r->rollout->opts;
    struct feed_status s = {.phase = phase,
                            .opt_steps = updates_done(r),
                            .env_steps = collect_env_steps(r->collect),
                            .target_opt_steps = r->n_updates,
                            .no_replay = true,
                            .replay_rows = r->rollout->n_added * size->n_envs,
                            .replay_capacity = size->n_steps * size->n_envs,
                            .elapsed_s = elapsed_s(r),
                            .sps = r->sps,
                            .train_sps = (float)r->updates_per_s,
                            .n_threads = r->n_threads,
                            .n_weights = ppo_params(r->agent)->n_weights};
    r->phase = phase;
    snprintf(s.algo, sizeof s.algo, "ppo");
    snprintf(s.task, sizeof s.task, "%.47s", r->name);
    snprintf(s.mode, sizeof s.mode, "full");
    snprintf(s.device, sizeof s.device, "%s", r->device.name);
    snprintf(s.session, sizeof s.session, "%.199s", r->session ? session_path(r->session) : "");
    snprintf(s.message, sizeof s.message, "%.239s", message);
    feed_set_status(r->feed, &s);
    struct error ignored = {
        0}; // a heartbeat that fails is no reason to stop; the next record will tell
    if (r->session) session_heartbeat(r->session, s.opt_steps, s.env_steps, &ignored);
}

static void unpack_levels(const uint8_t *packed, uint8_t *levels) {
    for (int i = 0; i < FEED_PIXELS; i++)
        levels[i] = (uint8_t)((packed[i >> 2] >> (2 * (i & 3)) & 3) * LEVELS_PER_SHADE);
}

// What environment 0 shows, the goal, and how far they are apart.
static void make_pictures(struct ppo_run *r, struct feed_pictures *p) {
    int64_t sum = 0;
    unpack_levels(ppo_rollout_frame(r->rollout, r->rollout->n_added, 0), p->real);
    unpack_levels(r->goal.packed[r->goal.n_frames - 1], p->reconstruction);
    for (int i = 0; i < FEED_PIXELS; i++) {
        p->error[i] = (uint8_t)abs(p->real[i] - p->reconstruction[i]);
        sum += p->error[i];
    }
    p->error_shades = (float)sum / (float)(FEED_PIXELS * LEVELS_PER_SHADE);
    p->opt_steps = updates_done(r);
    p->env_steps = collect_env_steps(r->collect);
    p->shows_goal = true;
    p->n_rollout = 0;
}

static bool serve_screens(struct ppo_run *r, enum feed_phase phase, struct error *e) {
    if (control_take_checkpoint(feed_control(r->feed)) && !ppo_run_checkpoint(r, false, e))
        return false;
    const int64_t now = clock_now_ns();
    if (now - r->status_ns >= status_every_ns || phase != r->phase) {
        r->status_ns = now;
        publish_status(r, phase, r->warning);
    }
    if (r->opts.live && now - r->pictures_ns >= pictures_every_ns) {
        make_pictures(r, feed_pictures_back(r->feed));
        feed_pictures_publish(r->feed);
        r->pictures_ns = now;
    }
    return true;
}

static bool wait_while_paused(struct ppo_run *r, struct error *e) {
    struct control *c = feed_control(r->feed);
    while (control_is_paused(c) && !r->single_update && !control_stop_requested(c)) {
        r->single_update = control_take_single_update(c);
        if (r->single_update) break;
        if (!serve_screens(r, PHASE_PAUSED, e)) return false;
        clock_sleep_ns(idle_ns);
    }
    return true;
}

// ---- records

static void put(struct record *rec, enum metric m, double value) {
    rec->value[m] = (float)value;
    rec->present |= METRIC_BIT(m);
}

static void put_rollout(const struct ppo_run *r, struct record *rec) {
    const struct collect_stats *s = collect_stats(r->collect);
    const struct ppo_rollout_opts *size = &r->rollout->opts;
    const int64_t n = size->n_envs * size->n_steps;
    put(rec, METRIC_REWARD_MEAN, s->reward_sum / (double)n);
    put(rec, METRIC_DONE_RATE, (double)s->dones / (double)n);
    put(rec, METRIC_TRUNC_RATE, (double)s->truncs / (double)n);
    put(rec, METRIC_RESET_RATE, (double)s->resets / (double)n);
    put(rec, METRIC_ENTROPY_MEAN, s->entropy_sum / (double)n);
    put(rec, METRIC_EPISODES, (double)s->episodes);
    if (s->episodes > 0) {
        put(rec, METRIC_RETURN_MEAN, s->return_sum / (double)s->episodes);
        put(rec, METRIC_LENGTH_MEAN, s->length_sum / (double)s->episodes);
        put(rec, METRIC_SUCCESS_RATE, (double)s->successes / (double)s->episodes);
    }
    put(rec, METRIC_VALUE_MEAN, s->value_mean);
    put(rec, METRIC_VALUE_STD, s->value_std);
    put(rec, METRIC_DIST_P10, s->dist_p10);
    put(rec, METRIC_DIST_P50, s->dist_p50);
    put(rec, METRIC_DIST_P90, s->dist_p90);
    rec->n_actions = r->env->n_actions;
    for (int a = 0; a < r->env->n_actions; a++) rec->action_hist[a] = s->action_counts[a];
}

static void put_update(const struct ppo_run *r, const struct ppo_learned *l, double rate,
                       struct record *rec) {
    static const enum metric of_term[PPO_N_TERMS] = {
        [PPO_TOTAL] = METRIC_LOSS_TOTAL, [PPO_POLICY] = METRIC_LOSS_POLICY,
        [PPO_VALUE] = METRIC_LOSS_VALUE, [PPO_ENTROPY_LOSS] = METRIC_LOSS_ENTROPY,
        [PPO_ENTROPY] = METRIC_ENTROPY,  [PPO_KL] = METRIC_APPROX_KL,
        [PPO_KL_K3] = METRIC_KL_K3,      [PPO_CLIP_FRACTION] = METRIC_CLIPFRAC};
    for (int i = 0; i < PPO_N_TERMS; i++) put(rec, of_term[i], l->terms[i]);
    put(rec, METRIC_GRAD_NORM, l->grad_norm);
    put(rec, METRIC_EXPLAINED_VARIANCE, l->explained_variance);
    put(rec, METRIC_LR, rate);
    put(rec, METRIC_GRAD_STEPS, (double)ppo_counters(r->agent)->grad_steps);
}

static void put_timing(struct ppo_run *r, struct record *rec) {
    const struct collect_times *t = collect_times(r->collect);
    const double steps = (double)r->rollout->opts.n_steps,
                 all = (double)(clock_now_ns() - r->update_start_ns);
    r->updates_per_s = 1e9 / all;
    r->sps = (float)(steps * (double)r->rollout->opts.n_envs * r->updates_per_s);
    put(rec, METRIC_SPS, (double)r->sps);
    put(rec, METRIC_UPDATES_PER_S, r->updates_per_s);
    put(rec, METRIC_ENV_MS, (double)t->env_ns * 1e-6 / steps);
    put(rec, METRIC_POLICY_MS, (double)t->policy_ns * 1e-6 / steps);
    put(rec, METRIC_UPDATE_MS, r->update_ms);
    put(rec, METRIC_SHARE_ACTING, (double)(t->env_ns + t->policy_ns) / all);
    put(rec, METRIC_SHARE_LEARNING, r->update_ms * 1e6 / all);
    put(rec, METRIC_WALL_TIME, elapsed_s(r));
}

static void put_if_known(struct record *rec, enum metric m, double value) {
    if (!isnan(value)) put(rec, m, value);
}

static void evaluate(struct ppo_run *r, struct record *rec) {
    const int64_t n = r->config.eval_episodes;
    struct ppo_eval_episode *episodes = mem_alloc((size_t)n * sizeof *episodes);
    ppo_eval_play(&(struct ppo_eval_opts){.agent = r->agent,
                                          .env = r->eval_env,
                                          .n_episodes = n,
                                          .greedy = true,
                                          .seed = (uint64_t)r->config.seed},
                  episodes);
    const struct ppo_eval_report report = ppo_eval_report(episodes, n);
    put(rec, METRIC_EVAL_SUCCESS_RATE, report.success_rate);
    put(rec, METRIC_EVAL_MEAN_RETURN, report.mean_return);
    put(rec, METRIC_EVAL_DIST_AT_END, report.distance_p50);
    put_if_known(rec, METRIC_EVAL_MEDIAN_STEPS, report.median_steps);
    put_if_known(rec, METRIC_EVAL_STEPS_P50, report.median_steps);
    put_if_known(rec, METRIC_EVAL_RETURN_SUCCESS, report.return_mean_success);
    put_if_known(rec, METRIC_EVAL_RETURN_FAIL, report.return_mean_fail);
    free(episodes);
}

// Every eval_every updates, with the next record that is written.
static bool evaluation_is_due(const struct ppo_config *c, int64_t done) {
    return c->eval_every > 0 && done % c->log_every == 0 &&
           done / c->eval_every > (done - c->log_every) / c->eval_every;
}

static void note_for_summary(struct ppo_run *r, const struct record *rec) {
    r->last = *collect_stats(r->collect);
    r->episodes += r->last.episodes;
    r->successes += r->last.successes;
    r->updates_here++;
    r->update_ms_sum += r->update_ms;
    r->times.env_ns += collect_times(r->collect)->env_ns;
    r->times.policy_ns += collect_times(r->collect)->policy_ns;
    r->last_entropy = (double)rec->value[METRIC_ENTROPY];
    if (r->last.episodes) r->last_return = (double)rec->value[METRIC_RETURN_MEAN];
}

static bool append_pictures(struct ppo_run *r, struct error *e) {
    if (!r->frames || r->opts.no_media) return true;
    struct feed_pictures *p = feed_pictures_back(r->feed);
    make_pictures(r, p);
    uint8_t *pixels = mem_alloc((size_t)PICTURES * FEED_PIXELS);
    memcpy(pixels, p->real, FEED_PIXELS);
    memcpy(pixels + FEED_PIXELS, p->reconstruction, FEED_PIXELS);
    memcpy(pixels + 2 * FEED_PIXELS, p->error, FEED_PIXELS);
    bool fine = frames_append(r->frames, p->opt_steps, p->env_steps, pixels, PICTURES, e);
    free(pixels);
    return fine;
}

// ---- one update

static bool fail_update(struct ppo_run *r, const struct ppo_learned *l, struct error *e) {
    r->all_finite = false;
    ppo_run_write_failure(r, l);
    return error_set(e, STATUS_FAILED,
                     "update %lld, pass %lld, minibatch %lld: loss or gradient is not finite; "
                     "first bad node: %s%s%s",
                     (long long)updates_done(r) + 1, (long long)l->bad_epoch,
                     (long long)l->bad_minibatch, l->bad_node,
                     r->session ? "; see failures/ in " : "",
                     r->session ? session_path(r->session) : "");
}

static bool update_here(struct ppo_run *r, double rate, struct ppo_learned *l) {
    collect_finish(r->collect);
    const int64_t t0 = clock_now_ns();
    const bool fine = ppo_learn(r->agent, r->rollout, rate, l);
    r->update_ms = (double)(clock_now_ns() - t0) * 1e-6;
    return fine;
}

// A whole rollout too: the host waits for nothing before the update's numbers.
static bool update_there(struct ppo_run *r, double rate, struct ppo_learned *l) {
    struct collect_stats stats;
    const struct backend_bus before = backend_chosen()->bus();
    ppo_device_play(r->on_device);
    r->rollout_transfers += backend_chosen()->bus().copies - before.copies;
    if (!ppo_device_learn(r->on_device, rate, l)) return false;
    const struct ppo_device_times t = ppo_device_times(r->on_device);
    ppo_device_stats(r->on_device, &stats);
    collect_take_stats(r->collect, &stats, &t.rollout);
    r->update_ms = t.update_ms;
    return true;
}

static bool finish_rollout(struct ppo_run *r, struct error *e) {
    struct ppo_learned l;
    const double rate = ppo_config_rate(&r->config, updates_done(r), r->n_updates);
    if (!(ppo_run_plays_on_device(r) ? update_there : update_here)(r, rate, &l))
        return fail_update(r, &l, e);
    const int64_t done = updates_done(r);
    struct record rec = {.opt_steps = done, .env_steps = collect_env_steps(r->collect)};
    put_rollout(r, &rec);
    put_update(r, &l, rate, &rec);
    if (evaluation_is_due(&r->config, done)) evaluate(r, &rec);
    put_timing(r, &rec);
    note_for_summary(r, &rec);
    r->worst_first_k3 = worse(r->worst_first_k3, l.first[PPO_KL_K3]);
    collect_clear(r->collect);
    r->update_start_ns = clock_now_ns();
    if (ppo_run_plays_on_device(r)) {
        r->boundary.env_steps = collect_env_steps(r->collect);
    } else {
        ppo_rollout_carry(r->rollout);
        ppo_run_take_boundary(r);
    }
    if (done % r->config.log_every == 0) {
        feed_push_record(r->feed, &rec, elapsed_s(r));
        if (r->session && !session_append(r->session, &rec, e)) return false;
        if (!append_pictures(r, e)) return false;
    }
    r->single_update = false;
    if (r->config.checkpoint_every > 0 && done % r->config.checkpoint_every == 0)
        return ppo_run_checkpoint(r, false, e);
    return true;
}

// ---- the loop

static bool target_reached(const struct ppo_run *r) {
    const double minutes = (double)(clock_now_ns() - r->start_ns) / 60e9;
    return control_stop_requested(feed_control(r->feed)) ||
           (r->n_updates > 0 && updates_done(r) >= r->n_updates) ||
           (r->opts.minutes > 0 && minutes >= r->opts.minutes);
}

static bool loop(struct ppo_run *r, struct error *e) {
    while (!target_reached(r)) {
        if (!wait_while_paused(r, e)) return false;
        if (control_stop_requested(feed_control(r->feed))) break;
        const bool there = ppo_run_plays_on_device(r);
        if (!there) collect_step(r->collect);
        if ((there || ppo_rollout_is_full(r->rollout)) && !finish_rollout(r, e)) return false;
        if (!serve_screens(r, PHASE_TRAINING, e)) return false;
    }
    return true;
}

static bool write_plot(struct ppo_run *r, struct error *e) {
    char title[200], path[PATH_SIZE];
    if (!r->session || r->opts.no_media) return true;
    snprintf(title, sizeof title, "%s, ppo, seed %lld, %lld updates", r->name,
             (long long)r->config.seed, (long long)updates_done(r));
    const int64_t n = feed_n_records(r->feed);
    struct record *records = mem_alloc((size_t)(n + 1) * sizeof *records);
    for (int64_t i = 0; i < n; i++) records[i] = *feed_record(r->feed, i);
    bool fine = path_join(path, session_path(r->session), "metrics.png", e) &&
                plot_metrics_png(path, title, records, n, e);
    free(records);
    return fine;
}

bool ppo_run_main(struct ppo_run *r, struct error *e) {
    r->start_ns = r->update_start_ns = clock_now_ns();
    publish_status(r, PHASE_TRAINING, "");
    bool fine = loop(r, e);
    r->wall_s = (double)(clock_now_ns() - r->start_ns) * 1e-9;
    struct frames_writer *frames = r->frames;
    r->frames = NULL;
    if (fine) {
        make_pictures(r, feed_pictures_back(r->feed));
        feed_pictures_publish(r->feed);
        fine = ppo_run_checkpoint(r, true, e) && write_plot(r, e);
    }
    struct error late = {0};
    if (!frames_close(frames, &late) && fine) {
        *e = late;
        fine = false;
    }
    if (r->session)
        session_finish(r->session, fine ? SESSION_DONE : SESSION_FAILED, fine ? "" : e->message);
    publish_status(r, fine ? PHASE_DONE : PHASE_FAILED, fine ? "" : e->message);
    return fine;
}

void ppo_run_summary(const struct ppo_run *r, struct worker_summary *out) {
    const double steps = (double)(r->updates_here * r->rollout->opts.n_steps);
    *out = (struct worker_summary){
        .algo = "ppo",
        .opt_steps = updates_done(r),
        .env_steps = r->boundary.env_steps,
        .wall_s = r->wall_s,
        .update_ms = r->updates_here ? r->update_ms_sum / (double)r->updates_here : NAN,
        .all_finite = r->all_finite,
        .episodes = r->episodes,
        .successes = r->successes,
        .env_ms = steps > 0 ? (double)r->times.env_ns * 1e-6 / steps : NAN,
        .policy_ms = steps > 0 ? (double)r->times.policy_ns * 1e-6 / steps : NAN,
        .last_success_rate =
            r->last.episodes ? (double)r->last.successes / (double)r->last.episodes : NAN,
        .last_return = r->last_return,
        .last_entropy = r->last_entropy,
        .worst_first_k3 = r->worst_first_k3,
        .rollout_transfers = ppo_run_plays_on_device(r) ? r->rollout_transfers : -1};
    snprintf(out->session, sizeof out->session, "%.199s",
             r->session ? session_path(r->session) : "");
}
