// Checkpoint: parameters, Adam moments and counters in one safetensors file.
//
//     int64_t opt_steps, env_steps;
//     struct checkpoint_scalar scalars[] = {{"opt_steps", &opt_steps}, {"env_steps", &env_steps}};
//     struct checkpoint c = {.params = p, .scalars = scalars, .n_scalars = 2};
//     if (!checkpoint_save(path, &c, &e)) ...
//     if (!checkpoint_load(path, &c, NULL, &e)) ...  // fills the parameters and the scalars
//
// Tensors: "weights/NAME", "adam_m/NAME", "adam_v/NAME" with sheeprl's NAMEs in the engine's real,
// "state/SCALAR" as I64[], and the caller's extra ones (the replay's). Metadata: schema version,
// config hash. No time, host or path: equal runs write equal bytes. The file is replaced
// atomically.
#ifndef DATA_CHECKPOINT_H
#define DATA_CHECKPOINT_H

#include "base/error.h"
#include "engine/data/safetensors.h"
#include "engine/graph/params.h"

#define CHECKPOINT_SCHEMA "1"

struct checkpoint_scalar {
    const char *name;
    int64_t *value;
};

struct checkpoint {
    struct params *params;
    struct params *const *more_params; // further sets, saved and loaded alike; names are unique
    int n_more_params;
    // Loading for those who act and do not learn: moments and scalars beside the listed ones are
    // left alone.
    bool weights_only;
    // Loading a failure's: numbers that are not finite are taken as they are.
    bool of_failure;
    const char *config_sha256; // NULL at loading: any config; else it must be the same
    const struct checkpoint_scalar *scalars;
    int n_scalars;
    const struct st_source *extra; // saved as they are; at loading see `file`
    int n_extra;
};

bool checkpoint_save(const char *path, const struct checkpoint *c, struct error *e);
// All or nothing: on false, c's parameters and scalars are untouched. Refused in one line: not a
// safetensors file, another schema, another config hash, an altered bit, a tensor that is missing,
// unknown, of the wrong shape or dtype, or not finite. `file` not NULL: receives the opened file
// (caller frees) for extra tensors; then tensors outside "weights/", "adam_m/", "adam_v/", "state/"
// are left to the caller, else they are ignored.
bool checkpoint_load(const char *path, const struct checkpoint *c, struct safetensors **file,
                     struct error *e);

#endif
