// A small agent's run in the calling process, for tests of the worker; equal files.
#ifndef TESTS_SUPPORT_SMALL_RUN_H
#define TESTS_SUPPORT_SMALL_RUN_H

#include "base/file.h"
#include "engine/run/worker/worker.h"
#include "support/test.h"

static const char *const small_run_settings[] = {
    "algo.per_rank_sequence_length=16",
    "algo.per_rank_batch_size=4",
    "algo.learning_starts=40",
    "algo.horizon=4",
    "algo.replay_ratio=0.25",
    "env.num_envs=2",
    "env.max_episode_steps=30",
    "checkpoint.every=7",
    "buffer.size=200",
    "metric.log_every=3",
    "checkpoint.keep_last=3",
};

// Two environments of a scene: an update every second tick, a checkpoint every seventh update,
// episodes of 30 steps.
static inline struct run_opts small_run(const char *mode, const char *root, int64_t updates) {
    return (struct run_opts){.task = "sprites",
                             .mode = mode,
                             .preset = "micro",
                             .updates = updates,
                             .n_threads = 2,
                             .sessions_dir = root,
                             .no_media = true,
                             .settings = small_run_settings,
                             .n_settings = sizeof small_run_settings / sizeof *small_run_settings};
}

// To the end; *s is filled in when the worker could be made. `s` may be NULL.
static inline __attribute__((unused)) enum status
run_worker(const struct run_opts *opts, struct worker_summary *s, struct error *e) {
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(opts, feed, e);
    enum status status = w ? worker_run(w, e) : e->status;
    if (w && s) worker_summary(w, s);
    worker_free(w);
    feed_free(feed);
    return status;
}

// The session's folder into `session`; a run that fails fails the test.
static inline __attribute__((unused)) void run_well(const struct run_opts *opts,
                                                    char session[200]) {
    struct error e = {0};
    struct worker_summary s = {0};
    if (run_worker(opts, &s, &e) != STATUS_OK) fail_msg("%s", e.message);
    memcpy(session, s.session, sizeof s.session);
}

// Runs to the end and keeps worker and feed, for a look at them.
static inline __attribute__((unused)) struct worker *run_and_keep(const struct run_opts *opts,
                                                                  struct feed *feed) {
    struct error e = {0};
    struct worker *w = worker_new(opts, feed, &e);
    if (!w || worker_run(w, &e) != STATUS_OK) fail_msg("%s", e.message);
    return w;
}

static inline __attribute__((unused)) void assert_same_file(const char *a, const char *b,
                                                            const char *name) {
    struct error e = {0};
    char pa[PATH_SIZE], pb[PATH_SIZE];
    uint8_t *da = NULL, *db = NULL;
    size_t na = 0, nb = 0;
    assert_true(path_join(pa, a, name, &e) && path_join(pb, b, name, &e));
    if (!file_read(pa, 1 << 30, &da, &na, &e) || !file_read(pb, 1 << 30, &db, &nb, &e))
        fail_msg("%s", e.message);
    if (na == 0 || na != nb || memcmp(da, db, na) != 0) fail_msg("%s differs from %s", pb, pa);
    free(da);
    free(db);
}

#endif
