// Sessions to evaluate: an untrained micro model towards a goal, made once per test; and an
// evaluation of one.
#ifndef TESTS_SUPPORT_EVAL_SESSION_H
#define TESTS_SUPPORT_EVAL_SESSION_H

#include "engine/run/eval/eval.h"
#include "support/files.h"
#include "support/small_run.h"

enum { SESSION_SIZE = 200 };

static const char *const eval_session_keys[] = {
    "algo.learning_starts=40",          "env.num_envs=2",
    "env.max_episode_steps=24",         "algo.per_rank_batch_size=2",
    "algo.per_rank_sequence_length=16", "buffer.size=200"};

// One update; opts->preset and the settings above if it says none. The session's folder in `out`.
static inline __attribute__((unused)) void make_session(const struct run_opts *opts,
                                                        char out[SESSION_SIZE]) {
    struct run_opts o = *opts;
    if (!o.preset) o.preset = "micro";
    if (!o.settings) o.settings = eval_session_keys, o.n_settings = 6;
    o.updates = 1;
    o.n_threads = 1;
    o.no_media = true;
    if (!o.sessions_dir) o.sessions_dir = test_folder();
    run_well(&o, out);
}

// Evaluates into a folder of its own, with every step in trajectory.jsonl; the report if the caller
// wants it.
static inline __attribute__((unused)) void
evaluate(const struct eval_opts *opts, char folder[PATH_SIZE], struct eval_report *report) {
    struct error e = {0};
    struct eval_opts o = *opts;
    char steps[PATH_SIZE];
    snprintf(folder, PATH_SIZE, "%s", test_folder());
    o.out_dir = folder;
    struct eval *v = eval_new(&o, &e);
    if (!v || !eval_run(v, &e) || !eval_write(v, NULL, &e) ||
        !path_join(steps, folder, "trajectory.jsonl", &e) || !eval_write_trajectory(v, steps, &e))
        fail_msg("%s", e.message);
    if (report) eval_report(v, report);
    eval_free(v);
}

#endif
