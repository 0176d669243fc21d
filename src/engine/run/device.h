// Device of a run: what --device asks for becomes the backend of all graphs built from now on.
//
//     struct device d;
//     if (!device_choose(opts->device, &d, e)) return false; // before any graph is built
//     snprintf(status.device, sizeof status.device, "%s", d.name);
//
// "cpu": the CPU. "cuda": the GPU, or an error. "auto" (and NULL): the GPU where there is one, else
// the CPU; d.why then says why not. The choice holds for the process (graph/backend.h), so runs of
// different devices do not go on at once. Thread: the one that builds the run.
#ifndef RUN_DEVICE_H
#define RUN_DEVICE_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/graph/backend.h"

struct device {
    const char *name;               // "cpu", "cuda"
    char why[BACKEND_MESSAGE_SIZE]; // cpu by "auto": what is missing for cuda; cuda: which GPU
    char play[80];                  // cuda: where machines and replay are, and why; "": nobody says
};

// Before it, where several ranks share the machine: each sees one of its GPUs from now on. The one
// of CUDA_VISIBLE_DEVICES, or of all, that has the rank's place; where that names a single one,
// that one. NULL or one rank: nothing.
struct ranks; // engine/graph/ranks.h
void device_of_rank(const struct ranks *ranks);
// Unknown names are usage errors; "cuda" without a GPU is STATUS_FAILED, in one line.
bool device_choose(const char *wanted, struct device *out, struct error *e);
// TF32 products on or off, for the graphs of the chosen device; a usage error on the CPU.
bool device_precision(const struct device *d, bool tf32, struct error *e);
void device_say(const struct device *d); // a line for the log: which one, and why not the GPU
// What is known of the GPU, or "no CUDA device" and why; true: there is one. Chooses nothing.
bool device_describe(char *text, size_t size);

#endif
