// Worker signs: what shows a sick run early, of every update: steps over weights, use of the
// latent's classes.
#include <stdlib.h>

#include "base/mem.h"
#include "engine/algo/dreamer_v3/wm_net.h"
#include "engine/run/worker/worker_internal.h"

static const enum metric ratios[WORKER_SIGNS_SETS] = {
    METRIC_UPDATE_RATIO_MODEL, METRIC_UPDATE_RATIO_ACTOR, METRIC_UPDATE_RATIO_CRITIC};

void worker_signs_init(struct worker *w) {
    struct worker_signs *s = &w->signs;
    _Static_assert(DREAMER_ACTOR == 1 && DREAMER_CRITIC == 2, "sets in the order of `ratios`");
    s->n = w->dreamer ? WORKER_SIGNS_SETS : 1;
    for (int i = 0; i < s->n; i++)
        update_probe_init(&s->probes[i], w->dreamer
                                             ? dreamer_params(w->dreamer, (enum dreamer_set)i)
                                             : wm_params(w->wm));
    s->counts = mem_alloc((size_t)wm_dims(w->wm)->discrete * sizeof *s->counts);
}

void worker_signs_free(struct worker *w) {
    struct worker_signs *s = &w->signs;
    for (int i = 0; i < s->n; i++) update_probe_deinit(&s->probes[i]);
    free(s->counts);
    *s = (struct worker_signs){0};
}

void worker_signs_before(struct worker *w) {
    if (worker_stays_on_device(w)) return; // both need the weights here
    for (int i = 0; i < w->signs.n; i++) update_probe_before(&w->signs.probes[i]);
}

uint64_t worker_signs_metrics(const struct worker *w, float out[METRIC_COUNT]) {
    const struct worker_signs *s = &w->signs;
    const struct wm_dims *d = wm_dims(w->wm);
    struct wm_states states = wm_states(w->wm);
    struct latent_usage usage =
        latent_usage(states.z, states.rows, d->stochastic, d->discrete, s->counts);
    uint64_t present = (uint64_t)1 << METRIC_LATENT_CLASSES | (uint64_t)1
                                                                  << METRIC_LATENT_PERPLEXITY;
    out[METRIC_LATENT_CLASSES] = (float)usage.classes;
    out[METRIC_LATENT_PERPLEXITY] = (float)usage.perplexity;
    for (int i = 0; i < s->n && !worker_stays_on_device(w); i++) {
        out[ratios[i]] = (float)update_probe_ratio(&s->probes[i]);
        present |= (uint64_t)1 << ratios[i];
    }
    return present;
}
