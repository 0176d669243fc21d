// Program: what repeats on a device without the host (backend.h says what the commands do).
//
//     struct program *p = program_new();              // NULL where graphs run on the CPU
//     program_feed(p, ex, x);
//     program_noise(p, ex, u, seed, RNG_PRIOR, false);
//     program_run(p, ex);
//     program_norm(p, &params, 1000, &norm);
//     program_check(p, ex, loss, &params);
//     program_adam(p, &params, &numbers);
//     program_advance(p);
//     program_report(p, ex, loss);
//     program_seal(p, 0);                             // the first step's number
//     for (;;) { fill(x); program_launch(p); }        // enqueued: one CUDA graph
//     struct backend_progress at;
//     program_read(p, &at);                           // waits: loss and norm are the host's
//
// Executors, graphs and sets are borrowed and outlive the program. While it lives the device holds
// the true weights and moments; program_fetch brings them, program_store takes the host's. A device
// that fails cannot be gone on with: device_lost (base/error.h). Thread: one.
#ifndef GRAPH_PROGRAM_H
#define GRAPH_PROGRAM_H

#include "engine/graph/backend.h"
#include "engine/graph/graph.h"

struct program;
struct program *program_new(void);
// Before all commands: several ranks run it (ranks.h, ranks_join_device), each with so many
// sequences of a batch, whose noise is that of the whole batch's rows. NULL: one alone.
struct ranks;
void program_join(struct program *p, const struct ranks *ranks, int64_t sequences);
void program_free(struct program *p); // NULL is fine

// ---- commands, in the order in which they run
void program_feed(struct program *p, struct executor *ex, struct tensor *t); // NULL t: nothing
void program_fill(struct program *p, struct executor *ex, struct tensor *t, int64_t first,
                  int64_t count, real value);
void program_noise(struct program *p, struct executor *ex, struct tensor *t, uint64_t seed,
                   uint32_t purpose, bool normal);
void program_run(struct program *p, struct executor *ex);
// The set's gradients, or t, become their mean over the ranks; alone nothing.
void program_mean(struct program *p, const struct params *set);
void program_mean_of(struct program *p, struct executor *ex, struct tensor *t);
void program_copy(struct program *p, struct executor *ex, struct tensor *to,
                  struct executor *from_ex, const struct tensor *from);
void program_norm(struct program *p, const struct params *set, double max_norm, double *norm);
// The value (t NULL: none) and the set's norm (NULL: none).
void program_check(struct program *p, struct executor *ex, const struct tensor *t,
                   const struct params *set);
struct program_adam {
    double learning_rate, beta1, beta2, eps;
    bool laprop; // LaProp instead, with these two (nn/optim.h)
    double agc;
    int64_t warmup;
};
void program_adam(struct program *p, const struct params *set, const struct program_adam *numbers);
void program_track(struct program *p, const struct params *set, const struct params *source,
                   double tau, int64_t every);
void program_advance(struct program *p);
void program_report(struct program *p, struct executor *ex, const struct tensor *t);
void program_finite(struct program *p, struct executor *ex, const struct tensor *t);
// Of a ring's row that is being written.
void program_pictures(struct program *p, struct executor *ex, struct tensor *to,
                      struct device_ring *ring);
void program_begins(struct program *p, struct executor *ex, struct tensor *to,
                    struct device_ring *ring);
void program_act(struct program *p, struct executor *ex, const struct tensor *one_hot,
                 struct device_ring *ring);
// A batch from it: length rows, batch sequences, the first n_terminal through terminated rows.
struct program_sample {
    uint64_t seed;
    int length, batch, n_terminal;
};
void program_sample(struct program *p, struct device_ring *ring, const struct program_sample *s);
struct device_rollout;
// A piece of its work (engine/algo/ppo/device_rollout.h). With `set` it has the norm of its
// gradient, where the program has found one, and its launches take turns with all others of the
// set. NULL: neither.
void program_stage(struct program *p, struct device_rollout *rollout, int stage, int which,
                   const struct params *set);
// A launch taken apart, after the first one (backend.h: program_items).
struct program_item {
    char text[96]; // kind and shape: "linear 16x1024 > 16x1536", "adam 181258"
    int launches;
    double ms;          // median of the passes; 0 passes: 0
    double bytes, flop; // that it has to move and do at least; flop: of products alone
    bool bf16;          // its products' operands are rounded to bf16
};
typedef void program_item_fn(void *ctx, const struct program_item *item);
void program_items(struct program *p, int passes, program_item_fn *each, void *ctx);
int64_t program_graph_nodes(const struct program *p); // of the captured graph; 0: none yet
int program_n_commands(const struct program *p);      // so far: the next one's place

// ---- running
void program_seal(struct program *p, int64_t step);
void program_store(struct program *p, int64_t step);
void program_launch(struct program *p);
void program_seek(struct program *p, int64_t step, bool anew);
void program_scale_rates(struct program *p, double factor); // enqueued, from the next launch on
void program_read(struct program *p, struct backend_progress *out);
void program_fetch(struct program *p);
double program_ms(struct program *p); // of the last launch that was read, by the device's clock

#endif
