// Reproduce: runs the update, or the policy step, of a failure bundle again and names the first
// node that is not finite.
//
//     struct reproduction r;
//     if (!reproduce_run("sessions/X/failures/step_000000007", 2, &r, &e)) return fail(&e);
//     printf("%s\n", r.found);    // "wm/loss", or "" when all is finite this time
//
// The bundle alone is read (docs/formats.md): config, weights before the update, its batch; the
// random numbers follow from the step. On the machine's own kernels: another instruction set may
// round a limit away, which `same_kernel` tells.
#ifndef RUN_REPRODUCE_H
#define RUN_REPRODUCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct reproduction {
    int64_t update;                 // its number, 1 for the first; of a policy step the one before
    bool policy;                    // a policy step, no update: no loss and no norm
    char stage[24];                 // where it failed: world_model, behaviour, joint, policy; PPO's
    char recorded[128], found[128]; // first bad node then and now; found "": none
    double loss, grad_norm;         // now
    double learning_rate;           // PPO: of that update; else 0
    bool same_kernel;
};
// False and one line: no bundle, cut or altered. n_threads 0: one.
bool reproduce_run(const char *bundle, int n_threads, struct reproduction *out, struct error *e);

#endif
