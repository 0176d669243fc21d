// What the files of the gate share: its state, and what every check is made of.
#ifndef RUN_GATE_INTERNAL_H
#define RUN_GATE_INTERNAL_H

#include "engine/run/gate/gate.h"
#include "engine/run/worker/worker.h"

struct params;
enum { GATE_MAX_CHECKS = 64 };

struct check_result {
    char name[48], detail[400];
    bool passed;
    double seconds;
};

struct gate {
    const struct gate_opts *opts;
    FILE *out;
    struct check_result results[GATE_MAX_CHECKS];
    int n_results, n_failed;
};

void gate_add_result(struct gate *g, const char *name, bool passed, double seconds,
                     const char *detail);
// A run without files, with the gate's algorithm, threads and settings.
struct run_opts gate_run_options(const struct gate *g, const char *task);
// The same with settings of the check's own; the gate's come last and hold, so that a test can
// break them. gate_free_options frees the list.
struct run_opts gate_run_options_and(const struct gate *g, const char *task, const char *const *own,
                                     int n_own);
void gate_free_options(struct run_opts *o);
// With `verify` the newest checkpoint must load into a second worker and hold the same weights.
bool gate_run_once(const struct run_opts *opts, bool verify, struct feed *feed,
                   struct worker_summary *s, struct error *e);

void gate_check_smoke(struct gate *g, struct run_opts opts);
void gate_check_dream(struct gate *g);         // gate_dream.c
// gate_gpu.c. The largest difference of two sets, relative to the largest weight of b; NaN where any
// of a is.
double gate_apart(const struct params *a, const struct params *b);
void gate_check_update_on_gpu(struct gate *g);
void gate_check_bus(struct gate *g);
void gate_check_exit_lab(struct gate *g);
void gate_check_rows(struct gate *g); // gate_gpu_play.c
void gate_check_loop(struct gate *g);
// times_floor: the bar; 0: its own, which only a real GPU is judged by.
void gate_check_batch_time(struct gate *g, double times_floor);
// What PPO's run of the toy task is judged by: shares of the last rollout's and of greedy episodes;
// mean explained variance of the last ten updates; mean KL (k3) of the updates; the largest one
// before an update's first step. False, and which bar is missed.
struct gate_toy {
    double success, greedy, explained, k3, first_k3;
};
bool gate_judge_toy(const struct gate_toy *t, const char **why); // gate_ppo.c
// Shares of episodes that succeed in the first rollout and in the last.
struct gate_lab {
    double first, last;
};
bool gate_judge_lab(const struct gate_lab *l, const char **why); // gate_ppo_gpu.c
enum { GATE_PPO_UPDATES = 8 };
void gate_check_ppo_on_gpu(struct gate *g, int64_t updates);
void gate_check_ppo(struct gate *g); // gate_ppo.c: all of PPO's

#endif
