// Sessions to evaluate: an untrained micro model towards a goal, made once per test.
#ifndef TESTS_SUPPORT_EVAL_SESSION_H
#define TESTS_SUPPORT_EVAL_SESSION_H

#include "support/files.h"

#include "engine/run/worker.h"

enum { SESSION_SIZE = 200 };

static const char *const eval_session_keys[] = {
    "algo.learning_starts=40",          "env.num_envs=2",
    "env.max_episode_steps=24",         "algo.per_rank_batch_size=2",
    "algo.per_rank_sequence_length=16", "buffer.size=200"};

// One update; opts->preset and the settings above if it says none. The session's folder in `out`.
static inline __attribute__((unused)) void make_session(const struct run_opts *opts,
                                                        char out[SESSION_SIZE]) {
    struct error e = {0};
    struct run_opts o = *opts;
    if (!o.preset) o.preset = "micro";
    if (!o.settings) o.settings = eval_session_keys, o.n_settings = 6;
    o.updates = 1;
    o.n_threads = 1;
    o.no_media = true;
    if (!o.sessions_dir) o.sessions_dir = test_folder();
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(&o, feed, &e);
    if (!w || worker_run(w, &e) != STATUS_OK) fail_msg("%s", e.message);
    struct worker_summary s;
    worker_summary(w, &s);
    snprintf(out, SESSION_SIZE, "%s", s.session);
    worker_free(w);
    feed_free(feed);
}

#endif
