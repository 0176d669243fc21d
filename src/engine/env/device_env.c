// The machines of a Game Boy environment on a device, and back.
#include "engine/env/device_env.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/env/gameboy.h"
#include "engine/graph/backend.h"

struct device_env {
    const struct device_play *play;
    struct env *env;
    struct device_machines *machines;
    struct gb_image *image; // of one machine, on its way
    uint8_t (*previous)[ENV_OBS_BYTES];
};

struct device_env *device_env_new(const struct backend *b, struct env *env, char *why,
                                  size_t size) {
    struct device_env *d = mem_alloc(sizeof *d);
    d->env = env;
    d->image = mem_alloc(sizeof *d->image);
    d->previous = mem_alloc(GOAL_MAX_STACK * sizeof *d->previous);
    d->play = device_play_of(b, why, size);
    if (d->play) d->machines = env_gameboy_on_device(env, d->play, why, size);
    if (d->machines) return d;
    device_env_free(d);
    return NULL;
}

void device_env_free(struct device_env *d) {
    if (!d) return;
    if (d->play) d->play->machines_free(d->machines);
    free(d->image);
    free(d->previous);
    free(d);
}

struct device_machines *device_env_machines(const struct device_env *d) {
    return d ? d->machines : NULL;
}

static bool said(const struct device_env *d, bool fine, char *why, size_t size) {
    if (!fine) snprintf(why, size, "%s", d->play->machines_message(d->machines));
    return fine;
}

bool device_env_store(struct device_env *d, char *why, size_t size) {
    struct goal_count count;
    bool fine = true;
    for (int i = 0; fine && i < d->env->n_envs; i++) {
        env_gameboy_take(d->env, i, d->image, &count, d->previous);
        fine = d->play->machines_give(d->machines, i, d->image, &count, d->previous[0]);
    }
    return said(d, fine, why, size);
}

bool device_env_fetch(struct device_env *d, char *why, size_t size) {
    struct goal_count count;
    bool fine = true;
    for (int i = 0; fine && i < d->env->n_envs; i++) {
        fine = d->play->machines_take(d->machines, i, d->image) &&
               d->play->machines_progress(d->machines, i, &count, d->previous[0]);
        if (fine) env_gameboy_give(d->env, i, d->image, &count, d->previous);
    }
    return said(d, fine, why, size);
}
