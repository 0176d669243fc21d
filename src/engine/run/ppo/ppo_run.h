// PPO run: one run of PPO behind worker.h, from options to a finished session.
//
//     struct ppo_run *r = ppo_run_new(&opts, feed, &e);      // refuses all that can be refused
//     bool fine = ppo_run_main(r, &e);                       // on the worker's thread
//     ppo_run_free(r);
//
// The same feed, commands, session files, checkpoints, failure folders and exit codes as every
// other run; what differs is the loop: a rollout with frozen weights, then the update on it
// (spec/ppo.md 3, 4). opt_steps counts updates. A checkpoint holds the state after the last update,
// environments included (up to PPO_RUN_SAVED_ENVS of them), so what a stop cuts off is only the
// rollout in progress: a resumed run plays it again and gives the same bytes.
#ifndef RUN_PPO_RUN_H
#define RUN_PPO_RUN_H

#include "base/json.h"
#include "engine/run/reproduce.h"
#include "engine/run/worker/worker.h"

enum { PPO_RUN_SAVED_ENVS = 256 };

struct ppo_run;
// Whether the options ask for PPO: by --algo, or by the session they resume.
bool ppo_run_wanted(const struct run_opts *opts);
struct ppo_run *ppo_run_new(const struct run_opts *opts, struct feed *feed, struct error *e);
bool ppo_run_main(struct ppo_run *r, struct error *e);
bool ppo_run_verify_checkpoint(struct ppo_run *r, struct error *e);
void ppo_run_summary(const struct ppo_run *r, struct worker_summary *out);
void ppo_run_free(struct ppo_run *r); // NULL is fine

// The failing step of a bundle again (reproduce.h); `report` is its failure.json.
bool ppo_run_reproduce(const char *bundle, const cJSON *report, int n_threads,
                       struct reproduction *out, struct error *e);

#endif
