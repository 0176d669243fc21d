// Device: --device becomes the backend of a run's graphs.
#include "engine/run/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/graph/ranks.h"

bool device_describe(char *text, size_t size) {
    char why[BACKEND_MESSAGE_SIZE];
    const struct backend *b = backend_open(NULL, why, sizeof why);
    if (b) return b->probe(text, size);
    const char *none = "no CUDA device";
    const bool said = strncmp(why, none, strlen(none)) == 0;
    snprintf(text, size, said ? "%s%s" : "%s: %s", said ? "" : none, why);
    return false;
}

static bool use_cpu(struct device *out) {
    out->name = "cpu";
    backend_choose(NULL);
    return true;
}

// Number `place` of a list with commas; empty behind its end.
static void pick(const char *list, int place, char *out, size_t size) {
    for (; place > 0 && *list; place--) {
        list += strcspn(list, ",");
        list += *list == ',';
    }
    snprintf(out, size, "%.*s", (int)strcspn(list, ","), list);
}

// CUDA reads the variable when it is opened, and then knows no other GPU in any thread.
void device_of_rank(const struct ranks *ranks) {
    const char *given = getenv("CUDA_VISIBLE_DEVICES");
    char own[64];
    if (!ranks || ranks->n_local < 2 || (given && !strchr(given, ','))) return;
    if (given)
        pick(given, ranks->local, own, sizeof own);
    else
        snprintf(own, sizeof own, "%d", ranks->local);
    setenv("CUDA_VISIBLE_DEVICES", own, 1);
}

bool device_choose(const char *wanted, struct device *out, struct error *e) {
    *out = (struct device){0};
    if (!wanted) wanted = "auto";
    if (strcmp(wanted, "cpu") == 0) return use_cpu(out);
    const bool must = strcmp(wanted, "cuda") == 0;
    if (!must && strcmp(wanted, "auto") != 0)
        return error_set(e, STATUS_USAGE, "--device %s: no such device; known: auto, cpu, cuda",
                         wanted);
    const struct backend *b = backend_open(NULL, out->why, sizeof out->why);
    if (!b && must)
        return error_set(e, STATUS_FAILED, "--device cuda: %s; use --device cpu", out->why);
    if (!b) return use_cpu(out);
    b->probe(out->why, sizeof out->why);
    out->name = "cuda";
    backend_choose(b);
    return true;
}

void device_say(const struct device *d) {
    log_write(LOG_INFO, "device %s%s%s%s%s", d->name, d->why[0] ? ": " : "", d->why,
              d->play[0] ? "; " : "", d->play);
}

bool device_precision(const struct device *d, bool tf32, struct error *e) {
    if (backend_chosen()) backend_chosen()->allow_tf32(tf32);
    if (!tf32 || backend_chosen()) return true;
    return error_set(e, STATUS_USAGE,
                     "precision.allow_tf32=true: the %s has no TF32; it goes with --device cuda",
                     d->name);
}
