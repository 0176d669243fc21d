// Ratio scheduler: how many gradient steps are due after so many policy steps.
#include "engine/algo/ratio.h"

int64_t ratio_due(struct ratio *r, int64_t policy_step) {
    if (r->ratio == 0) return 0;
    if (!r->started) {
        r->started = true;
        r->previous = (double)policy_step;
        int64_t first = policy_step;
        if (r->pretrain_steps > 0 && r->pretrain_steps < first) first = r->pretrain_steps;
        return (int64_t)((double)first * r->ratio);
    }
    int64_t due = (int64_t)(((double)policy_step - r->previous) * r->ratio);
    if (due < 0) return 0;
    r->previous += (double)due / r->ratio;
    return due;
}
