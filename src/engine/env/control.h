// Control tasks: environments of our own without a ROM, observed as vectors, as pictures, or both.
//
//     const struct control_task *task = control_task_find("pendulum");
//     struct control_opts o = {.n_envs = 4, .max_steps = task->max_steps, .seed = 1};
//     if (!control_observation(task, "vector", &o.obs, &e)) ...;
//     struct env *env = task->make(&o);
//     ... env_free(env);
//
// One table; all of it is read only.
#ifndef ENV_CONTROL_H
#define ENV_CONTROL_H

#include "engine/env/env.h"

struct control_opts {
    int n_envs;           // 0: 1
    int first;            // place of the first one among those of all ranks
    int max_steps;        // until an episode is truncated
    uint64_t seed;        // of the starts
    struct obs_space obs; // what is observed
};

struct control_task {
    const char *name; // --task NAME
    const char *what; // one line for --help
    int n_vector;     // floats that can be observed
    bool picture;     // there is a picture too
    struct action_space actions;
    const char *const *action_names; // [action_width]
    int max_steps;                   // default time limit
    struct env *(*make)(const struct control_opts *opts);
};

extern const struct control_task control_tasks[];
extern const int n_control_tasks;
const struct control_task *control_task_find(const char *name); // NULL if there is none

// What env.observation asks for: "task" (the vector), "vector", "pixels", "both".
bool control_observation(const struct control_task *task, const char *wanted, struct obs_space *out,
                         struct error *e);

#endif
