// Fake worker: a writer thread that lives through an invented training (support/fake_run.h) and
// obeys the commands.
#ifndef SUPPORT_FAKE_WORKER_H
#define SUPPORT_FAKE_WORKER_H

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "support/fake_run.h"

struct fake_worker {
    struct fake_run run;
    int rate;          // steps a second
    int64_t start;     // steps already made when it starts
    const char *crash; // at 40 steps after the start: "SEGV", "CHECK", "EXIT"; NULL: none
    bool print, fail;  // write to stderr like a library; end as failed
    bool stubborn;     // never obeys control_stop
    pthread_t thread;
};

static inline void fake_worker_crash(const struct fake_worker *w) {
    switch (w->crash[0]) {
    case 'S':
        raise(SIGSEGV);
        break;
    case 'C':
        CHECK(w->run.steps == 0, "a broken invariant");
        break;
    case 'E':
        exit(9);
    }
}

static inline void *fake_worker_main(void *arg) {
    struct fake_worker *w = arg;
    struct control *control = feed_control(w->run.feed);
    if (w->start) fake_run_advance(&w->run, w->start);
    log_write(LOG_INFO, "prefill: 256 steps with the constant action NOOP");
    int64_t next_ns = clock_now_ns();
    while ((w->stubborn || !control_stop_requested(control)) &&
           (!w->run.target || w->run.steps < w->run.target)) {
        bool single = control_take_single_update(control);
        if (control_take_checkpoint(control))
            log_write(LOG_INFO, "checkpoint written at step %lld", (long long)w->run.steps);
        if (control_is_paused(control) && !single) {
            fake_run_status(&w->run, PHASE_PAUSED, "");
            clock_sleep_ns(10000000);
            continue;
        }
        fake_run_record(&w->run);
        fake_run_status(&w->run, PHASE_TRAINING, "");
        if (w->run.steps % 5 == 0) fake_run_pictures(&w->run);
        if (w->run.steps % 100 == 0)
            log_write(LOG_INFO, "step %lld: metrics written", (long long)w->run.steps);
        if (w->print && w->run.steps % 50 == 25)
            fprintf(stderr, "libfoo: warning from a library\n");
        if (w->crash && w->run.steps == w->start + 40) fake_worker_crash(w);
        next_ns += 1000000000 / w->rate;
        if (next_ns > clock_now_ns()) clock_sleep_ns(next_ns - clock_now_ns());
    }
    if (w->fail) log_write(LOG_ERROR, "non-finite gradient in wm/rssm/t07/gru");
    fake_run_status(&w->run, w->fail ? PHASE_FAILED : PHASE_DONE,
                    w->fail ? "non-finite gradient in wm/rssm/t07/gru; see failures/u000400" : "");
    return NULL;
}

static inline void fake_worker_start(struct fake_worker *w) {
    if (pthread_create(&w->thread, NULL, fake_worker_main, w) != 0) abort();
}

static inline void fake_worker_finish(struct fake_worker *w) {
    control_stop(feed_control(w->run.feed));
    pthread_join(w->thread, NULL);
    fake_run_deinit(&w->run);
}

#endif
