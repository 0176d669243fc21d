// A small PPO run on the toy in the calling process: six environments, eight steps a rollout.
#ifndef TESTS_RUN_PPO_SMALL_RUN_H
#define TESTS_RUN_PPO_SMALL_RUN_H

#include "support/small_run.h"

static const char *const small[] = {
    "env.num_envs=6",    "algo.rollout_steps=8", "algo.minibatches=3", "env.max_episode_steps=9",
    "algo.init=uniform", "eval.every=2",         "eval.episodes=3",    "checkpoint.every=2"};
enum { N_SMALL = sizeof small / sizeof *small, MORE = N_SMALL + 4 };

static inline struct run_opts options(const char *root, int64_t updates) {
    return (struct run_opts){.algo = "ppo",
                             .task = "toy",
                             .updates = updates,
                             .n_threads = 1,
                             .no_media = true,
                             .sessions_dir = root,
                             .settings = small,
                             .n_settings = N_SMALL};
}

static inline enum status run(const struct run_opts *opts, struct worker_summary *s,
                              struct error *e) {
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(opts, feed, e);
    enum status status = w ? worker_run(w, e) : e->status;
    if (w && s) worker_summary(w, s);
    if (w && status == STATUS_OK && !opts->no_session && !worker_verify_checkpoint(w, e))
        status = STATUS_FAILED;
    worker_free(w);
    feed_free(feed);
    return status;
}

static inline void must_run(const struct run_opts *opts, struct worker_summary *s) {
    struct error e = {0};
    if (run(opts, s, &e) != STATUS_OK) fail_msg("%s", e.message);
}

// The records of a run without files; `setting` comes last and holds.
static inline struct feed *feed_of_run(const char *setting, int64_t updates) {
    const char *settings[MORE];
    memcpy(settings, small, sizeof small);
    settings[N_SMALL] = setting;
    struct run_opts o = options(NULL, updates);
    o.no_session = true;
    o.settings = settings;
    o.n_settings = N_SMALL + (setting != NULL);
    struct feed *feed = feed_new(0);
    worker_free(run_and_keep(&o, feed));
    assert_int_equal(feed_n_records(feed), updates);
    return feed;
}

#endif
