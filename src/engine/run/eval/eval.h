// Evaluation: a saved policy plays whole episodes from jittered starts, beside a uniform random one
// from the same starts.
//
//     struct eval_opts opts = {.path = "sessions/X", .policy = EVAL_SAMPLED, .episodes = 100};
//     struct eval *v = eval_new(&opts, &e);
//     if (!eval_run(v, &e)) ...
//     struct eval_report r; eval_report(v, &r);
//     if (!eval_write(v, &e)) ...                  // episodes, summary and a video
//     eval_free(v);
//
// Episode i depends on (seed, i) alone: its start waits a random number of frames without buttons,
// its actions come from random streams of its own. So neither the number of environments nor that
// of threads changes a byte, every episode is played to its end (no bias towards short ones), and
// the first n of more episodes are the same. The policy is the player of training; the posterior
// is always sampled, greedy or not. One thread at a time.
#ifndef RUN_EVAL_H
#define RUN_EVAL_H

#include "base/file.h"
#include "engine/run/eval/eval_stats.h"
#include "engine/run/eval/saved_agent.h"

enum eval_policy { EVAL_SAMPLED, EVAL_GREEDY, EVAL_RANDOM, EVAL_CONSTANT, EVAL_N_POLICIES };
extern const char *const eval_policy_names[EVAL_N_POLICIES]; // "sampled", "greedy", ...

struct eval_opts {    // NULL or 0: the default in parentheses
    const char *path; // session or checkpoint
    struct saved_files files;
    enum eval_policy policy; // EVAL_CONSTANT: of a session without a policy, with open_loop only
    int64_t episodes;        // (100)
    int n_envs;              // stepped together (16); changes nothing but speed
    int n_threads;           // (1); nor does this
    uint64_t seed;
    int warm_up_frames;  // the start waits 0 .. warm_up_frames - 1 frames (60)
    const char *out_dir; // (SESSION/eval/step_N_POLICY)
    bool open_loop;      // measure the world model's rollouts on these episodes instead
    bool zero_latent;    // ablation: the latent z is 0, as in a session that was trained so
};

// Error of open-loop rollouts, per step ahead: 5 rows seen, then up to 15 imagined with the actions
// that were really taken, decoded and compared with what was really observed. Beside it: the last
// seen observation held still.
enum { EVAL_CONTEXT = WM_CONTEXT, EVAL_HORIZON = WM_IMAGINED };
struct eval_horizon {
    int64_t n;                          // rows compared; of their pictures, where there are any:
    double mse, copy_mse;               // mean squared error of a pixel, shades 0..3
    double shades, copy_shades;         // mean absolute error
    double wrong, copy_wrong;           // share of pixels whose nearest shade is another one
    double vector_mse, copy_vector_mse; // of their vectors: mean squared error of a number
};

struct eval_report {
    const struct saved_agent *agent;
    enum eval_policy policy;
    struct eval_stats policy_stats, random_stats; // random: 0 episodes where it was not played
    int64_t best;                                 // episode of the video
    struct eval_horizon horizon[EVAL_HORIZON];    // of open_loop
};

struct eval;
struct eval *eval_new(const struct eval_opts *opts, struct error *e);
bool eval_run(struct eval *v, struct error *e);
void eval_report(const struct eval *v, struct eval_report *out);
// The summary as JSON (deterministic: no time, no path).
cJSON *eval_json(const struct eval *v);
// episodes.jsonl, random.jsonl, summary.json and best.mp4 (best.gif where there is no ffmpeg) into
// the output folder, which is made; `folder` (may be NULL) is told where. open_loop: summary.json
// alone.
bool eval_write(struct eval *v, char folder[PATH_SIZE], struct error *e);
// Every step of the policy's episodes, a JSON line each, one episode after the other however many
// environments played them (docs/formats.md).
bool eval_write_trajectory(const struct eval *v, const char *path, struct error *e);
void eval_free(struct eval *v); // NULL is fine

#endif
