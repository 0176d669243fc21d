// The machines of a Game Boy environment on a device, and back (device_play.h, gameboy.h).
//
//     struct device_env *d = device_env_new(backend, env, why, sizeof why);   // NULL: why not
//     device_env_store(d, why, sizeof why);     // every machine with its episode: env -> device
//     ... programs play device_env_machines(d) ...
//     device_env_fetch(d, why, sizeof why);     // and back, to the bit: for checkpoints, pictures
//
// Same ROM, start, buttons, goal and rules as the environment, which is borrowed. Between fetch and
// the next step of either both are the same. Errors: false and one line. Thread: one.
#ifndef ENV_DEVICE_ENV_H
#define ENV_DEVICE_ENV_H

#include "engine/env/device_play.h"
#include "engine/env/env.h"

struct device_env;
// `env` was made by env_gameboy_new.
struct device_env *device_env_new(const struct backend *b, struct env *env, char *why, size_t size);
void device_env_free(struct device_env *d); // NULL is fine
// Every environment must have been reset or loaded (CHECK).
bool device_env_store(struct device_env *d, char *why, size_t size);
bool device_env_fetch(struct device_env *d, char *why, size_t size);     // waits
struct device_machines *device_env_machines(const struct device_env *d); // NULL where d is NULL

#endif
