// Worker rollout: ticks of all environments into the replay ring, on the caller's thread or beside
// it.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/algo/ppo/ppo_stats.h"
#include "engine/run/worker/worker_internal.h"

// A rollout has as many ticks as make one update due, so that it runs beside that update, but not
// so many that pauses and commands would wait; from MANY_ENVIRONMENTS on they share a pool of their
// own.
enum { MAX_ROLLOUT_TICKS = 16, MANY_ENVIRONMENTS = 8 };

// The thread beside the learner. `turn` says who owns the rollout.
enum turn { LEARNERS, ROLLOUTS, THE_END };
struct rollout_thread {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum turn turn;
};

int worker_rollout_ticks(const struct worker *w) {
    double a_tick = w->config.replay_ratio * (double)w->config.num_envs;
    if (a_tick * MAX_ROLLOUT_TICKS <= 1) return MAX_ROLLOUT_TICKS;
    return a_tick >= 1 ? 1 : (int)(1 / a_tick);
}

// ---- one tick writes one row of every environment

static void end_episode(struct rollout *r, int n) {
    r->episodes.n++;
    r->episodes.n_success += r->results[n].terminated;
    r->episodes.n_truncated += r->results[n].truncated;
    r->episodes.return_sum += r->episode_return[n];
    r->episodes.length_sum += (double)r->episode_length[n];
}

// Frames of this tick straight into the ring's next row: a reset for those that ended, a step for
// the others.
static void produce_rows(struct rollout *r, struct replay *replay) {
    int n_envs = r->env->n_envs;
    for (int n = 0; n < n_envs; n++) r->obs[n] = replay_slot(replay, n);
    env_reset(r->env, r->needs_reset, r->obs);
    for (int n = 0; n < n_envs; n++) r->mask[n] = !r->needs_reset[n];
    if (r->env->actions.n_continuous)
        env_step_values(r->env, r->mask, r->values, r->obs, r->results);
    else
        env_step(r->env, r->mask, r->actions, r->obs, r->results);
    for (int n = 0; n < n_envs; n++) {
        struct env_step_result out =
            r->needs_reset[n] ? (struct env_step_result){0} : r->results[n];
        replay_write_arrival(replay, n, out.reward, r->needs_reset[n], out.terminated,
                             out.truncated);
        if (r->needs_reset[n]) {
            r->episode_return[n] = 0;
            r->episode_length[n] = 0;
        } else {
            r->episode_return[n] += (double)out.reward;
            r->episode_length[n]++;
        }
        bool ended = out.terminated || out.truncated;
        if (ended) end_episode(r, n);
        r->needs_reset[n] = ended;
    }
}

// The action of one environment into its row and into the counts. One that just ended stores none
// (its next row is a reset row).
static void keep_action(struct rollout *r, struct replay *replay, int n) {
    const struct action_space *a = &r->env->actions;
    const bool none = r->needs_reset[n];
    const int32_t *heads = r->actions + n * a->n_heads;
    if (a->n_continuous) {
        replay_write_values(replay, n, none ? NULL : r->values + n * a->n_continuous);
        return;
    }
    replay_write_heads(replay, n, none ? NULL : heads);
    for (int k = 0, first = 0; k < a->n_heads && !none; first += a->classes[k++])
        if (first + heads[k] < RECORD_MAX_ACTIONS) r->episodes.actions[first + heads[k]]++;
}

static bool play_tick(struct worker *w) {
    struct rollout *r = &w->rollout;
    if (w->on_device) return worker_device_tick(w);
    produce_rows(r, w->replay);
    const int64_t t0 = clock_now_ns();
    const bool chosen = w->algo->choose(w, &r->error);
    r->policy_ns += clock_now_ns() - t0;
    if (!chosen) return false;
    for (int n = 0; n < r->env->n_envs; n++) {
        keep_action(r, w->replay, n);
        r->policy_steps += !r->needs_reset[n];
    }
    replay_commit(w->replay);
    r->env_ticks++;
    return true;
}

// Of the environments that the last tick stepped; the others stand at a new start.
static void take_distances(struct rollout *r) {
    int64_t n = 0;
    for (int i = 0; i < r->env->n_envs; i++)
        if (r->mask[i]) r->distances[n++] = r->results[i].distance;
    r->episodes.has_distance = n > 0;
    for (int k = 0; k < 3 && n > 0; k++)
        r->episodes.distance[k] = (float)stats_quantile(r->distances, n, 0.1 + 0.4 * k);
}

// Ends early when the steps that were asked for are played.
static void play(struct worker *w) {
    struct rollout *r = &w->rollout;
    int64_t t0 = clock_now_ns(), wanted = w->opts.ranks ? 0 : w->opts.env_steps;
    for (int64_t i = 0; i < r->n_ticks && r->fine && (wanted == 0 || r->policy_steps < wanted); i++)
        r->fine = play_tick(w);
    if (!w->on_device) take_distances(r);
    r->busy_ns = clock_now_ns() - t0;
}

// ---- the thread

static void pass(struct rollout_thread *t, enum turn turn) {
    pthread_mutex_lock(&t->mutex);
    t->turn = turn;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->mutex);
}

// Waits while it is `turn`; returns whose turn it is then.
static enum turn wait_while(struct rollout_thread *t, enum turn turn) {
    pthread_mutex_lock(&t->mutex);
    while (t->turn == turn) pthread_cond_wait(&t->changed, &t->mutex);
    turn = t->turn;
    pthread_mutex_unlock(&t->mutex);
    return turn;
}

static void *thread_main(void *arg) {
    struct worker *w = arg;
    while (wait_while(w->rollout_thread, LEARNERS) == ROLLOUTS) {
        play(w);
        pass(w->rollout_thread, LEARNERS);
    }
    return NULL;
}

void rollout_begin(struct worker *w, int64_t n_ticks, bool beside) {
    w->rollout.n_ticks = n_ticks;
    if (beside && w->rollout_thread)
        pass(w->rollout_thread, ROLLOUTS);
    else
        play(w);
}

bool rollout_wait(struct worker *w, struct error *e) {
    if (w->rollout_thread) {
        int64_t t0 = clock_now_ns();
        wait_while(w->rollout_thread, ROLLOUTS);
        w->busy.waiting_ns += clock_now_ns() - t0;
    }
    if (!w->rollout.fine) *e = w->rollout.error;
    return w->rollout.fine;
}

// ---- life

bool worker_build_rollout(struct worker *w, struct error *e) {
    struct rollout *r = &w->rollout;
    size_t n = (size_t)r->env->n_envs;
    int64_t rows = w->config.buffer_size / worker_all_envs(w), ticks = worker_rollout_ticks(w);
    if (rows < w->config.sequence_length + ticks)
        return error_set(e, STATUS_USAGE,
                         "buffer.size=%lld leaves %lld rows for each of %lld environments: a "
                         "sequence and the rows that "
                         "are played beside a batch need %lld",
                         (long long)w->config.buffer_size, (long long)rows,
                         (long long)worker_all_envs(w),
                         (long long)(w->config.sequence_length + ticks));
    const char *folder = w->resume              ? w->resume->session
                         : w->opts.sessions_dir ? w->opts.sessions_dir
                                                : "sessions";
    if (w->config.buffer_memmap && w->opts.no_session)
        return error_set(e, STATUS_USAGE,
                         "buffer.memmap=true needs a session's folder: leave --no-session out");
    if (w->config.buffer_memmap && !file_make_folders(folder, e)) return false;
    struct replay_opts replay = {.rows = rows,
                                 .n_envs = r->env->n_envs,
                                 .n_actions = r->env->n_actions,
                                 .obs_bytes = (int)obs_bytes(&r->env->obs),
                                 .n_vector = r->env->obs.n_vector,
                                 .actions = &r->env->actions,
                                 .guard = (int)ticks,
                                 .first_row = ranks_rank(w->opts.ranks) * w->config.batch_size,
                                 .file_folder = w->config.buffer_memmap ? folder : NULL};
    w->replay = replay_new(&replay, e);
    if (!w->replay || !worker_device_build(w, e)) return false;
    r->fine = true;
    r->needs_reset = mem_alloc(n);
    memset(r->needs_reset, 1, n);
    r->mask = mem_alloc(n);
    r->reset_now = mem_alloc(n);
    r->actions = mem_alloc(n * (size_t)r->env->actions.n_heads * sizeof *r->actions);
    r->values = mem_alloc(n * (size_t)r->env->actions.n_continuous * sizeof *r->values);
    r->obs = mem_alloc(n * sizeof *r->obs);
    r->results = mem_alloc(n * sizeof *r->results);
    r->episode_return = mem_alloc(n * sizeof *r->episode_return);
    r->episode_length = mem_alloc(n * sizeof *r->episode_length);
    r->distances = mem_alloc(n * sizeof *r->distances);
    if (w->n_threads > 1 && !w->on_device) { // else a rollout is only enqueued
        struct rollout_thread *t = w->rollout_thread = mem_alloc(sizeof *t);
        pthread_mutex_init(&t->mutex, NULL);
        pthread_cond_init(&t->changed, NULL);
        CHECK(pthread_create(&t->thread, NULL, thread_main, w) == 0, "no thread for the rollouts");
        pthread_setname_np(t->thread, "wb-rollout");
    }
    return true;
}

int worker_rollout_threads(const struct worker *w) {
    return w->config.num_envs >= MANY_ENVIRONMENTS ? w->n_threads : 1;
}

void worker_free_rollout(struct worker *w) {
    struct rollout *r = &w->rollout;
    struct rollout_thread *t = w->rollout_thread;
    if (t) {
        wait_while(t, ROLLOUTS);
        pass(t, THE_END);
        pthread_join(t->thread, NULL);
        pthread_cond_destroy(&t->changed);
        pthread_mutex_destroy(&t->mutex);
        free(t);
    }
    env_free(r->env);
    pool_free(r->pool);
    free(r->needs_reset);
    free(r->mask);
    free(r->reset_now);
    free(r->actions);
    free(r->values);
    free(r->obs);
    free(r->results);
    free(r->episode_return);
    free(r->episode_length);
    free(r->distances);
}
