// Parameter sets on the device: taking, giving back, order between streams.
#include "gpu/sets.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct device_set *sets;

struct device_set *sets_find(const struct params *params) {
    pthread_mutex_lock(&lock);
    struct device_set *s = sets;
    while (s && s->params != params) s = s->next;
    pthread_mutex_unlock(&lock);
    return s;
}

static struct device_set *find_or_add(const struct params *params) {
    struct device_set *s = sets_find(params);
    if (!s) {
        s = (struct device_set *)calloc(1, sizeof *s);
        if (!s) return 0;
        s->params = params;
        s->bytes = (size_t)params->n_flat * sizeof(real);
        pthread_mutex_lock(&lock);
        s->next = sets;
        sets = s;
        pthread_mutex_unlock(&lock);
    }
    s->users++;
    return s;
}

static bool want(struct gpu *g, real **buffer, size_t bytes, bool wanted) {
    if (wanted && !*buffer) *buffer = (real *)gpu_alloc(g, bytes);
    return *buffer || !wanted;
}

struct device_set *sets_take(struct gpu *g, const struct params *params, bool gradients,
                             bool moments) {
    struct device_set *s = find_or_add(params);
    if (!s) return 0;
    if (!s->written) s->written = gpu_event_new(g);
    if (!s->read) s->read = gpu_event_new(g);
    if (s->written && s->read && want(g, &s->weights, s->bytes, true) &&
        want(g, &s->grads, s->bytes, gradients) && want(g, &s->moment1, s->bytes, moments) &&
        want(g, &s->moment2, s->bytes, moments))
        return s;
    sets_give(g->device, s);
    return 0;
}

void sets_give(struct gpu_device *d, struct device_set *s) {
    if (!s || --s->users > 0) return;
    pthread_mutex_lock(&lock);
    struct device_set **p = &sets;
    while (*p != s) p = &(*p)->next;
    *p = s->next;
    pthread_mutex_unlock(&lock);
    gpu_free(d, s->weights);
    gpu_free(d, s->grads);
    gpu_free(d, s->moment1);
    gpu_free(d, s->moment2);
    gpu_event_free(s->written);
    gpu_event_free(s->read);
    free(s);
}

bool sets_reads(struct gpu *g, struct device_set *s) { return gpu_await(g, s->written); }

// Reads of several streams: each waits for those before it, so that the last one's end is all's.
bool sets_has_read(struct gpu *g, struct device_set *s) {
    return gpu_await(g, s->read) && gpu_record(g, s->read);
}

bool sets_writes(struct gpu *g, struct device_set *s) {
    return gpu_await(g, s->written) && gpu_await(g, s->read);
}

bool sets_has_written(struct gpu *g, struct device_set *s) { return gpu_record(g, s->written); }
