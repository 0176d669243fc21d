// Control tasks: the one table, and what of them is observed.
#include "engine/env/control.h"

#include <string.h>

#include "engine/env/pendulum.h"

static const char *const pendulum_actions[] = {"torque"};

const struct control_task control_tasks[] = {
    {.name = "pendulum",
     .what = "control: swing a rod up by its torque; vectors, no ROM",
     .n_vector = PENDULUM_N_VECTOR,
     .picture = true,
     .actions = {.n_continuous = 1},
     .action_names = pendulum_actions,
     .max_steps = PENDULUM_MAX_STEPS,
     .make = env_pendulum_new},
};
const int n_control_tasks = sizeof control_tasks / sizeof *control_tasks;

const struct control_task *control_task_find(const char *name) {
    for (int i = 0; i < n_control_tasks; i++)
        if (strcmp(control_tasks[i].name, name) == 0) return &control_tasks[i];
    return NULL;
}

bool control_observation(const struct control_task *t, const char *wanted, struct obs_space *out,
                         struct error *e) {
    const bool pixels = strcmp(wanted, "pixels") == 0 || strcmp(wanted, "both") == 0;
    *out = (struct obs_space){pixels, strcmp(wanted, "pixels") == 0 ? 0 : t->n_vector};
    if (t->picture || !pixels) return true;
    return error_set(e, STATUS_USAGE, "env.observation=%s: --task %s has no picture", wanted,
                     t->name);
}
