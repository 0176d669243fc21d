// Demo: the dashboard on an invented run with a writer thread, to look at it and for the terminal tests. Not installed.
//
//     demo_dashboard [--steps N] [--rate N] [--crash SEGV|CHECK|EXIT] [--print] [--script FILE] [--ascii] [--keep-running]
//     [--start N] [--nan N] [--fail]
// Prints how the dashboard ended, its own CPU time and its turns on stdout afterwards.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "support/fake_run.h"
#include "ui/dashboard.h"

struct demo { struct fake_run run; int rate; const char *crash; bool print, fail; int64_t start; long turns; };

static void *writer(void *arg) {
    struct demo *d = arg;
    struct control *control = feed_control(d->run.feed);
    if (d->start) fake_run_advance(&d->run, d->start);
    log_write(LOG_INFO, "session %s", "sessions/20261120T230434Z__dreamer_v3__sprites__demo");
    log_write(LOG_INFO, "prefill: 256 steps with the constant action NOOP");
    int64_t next_ns = clock_now_ns();
    while (!control_stop_requested(control) && (!d->run.target || d->run.steps < d->run.target)) {
        bool single = control_take_single_update(control);
        if (control_take_checkpoint(control)) log_write(LOG_INFO, "checkpoint written at step %lld", (long long)d->run.steps);
        if (control_is_paused(control) && !single) {
            fake_run_status(&d->run, PHASE_PAUSED, "");
            clock_sleep_ns(20000000);
            continue;
        }
        fake_run_record(&d->run);
        fake_run_status(&d->run, PHASE_TRAINING, "");
        if (d->run.steps % 5 == 0) fake_run_pictures(&d->run);
        if (d->run.steps % 100 == 0) log_write(LOG_INFO, "step %lld: world-model loss falling", (long long)d->run.steps);
        if (d->print && d->run.steps % 50 == 25) fprintf(stderr, "libfoo: warning from a library\n");
        if (d->crash && d->run.steps == 40) {
            if (d->crash[0] == 'S') raise(SIGSEGV);
            if (d->crash[0] == 'C') CHECK(d->run.steps == 0, "a broken invariant");
            if (d->crash[0] == 'E') exit(9);
        }
        next_ns += 1000000000 / d->rate;
        if (next_ns > clock_now_ns()) clock_sleep_ns(next_ns - clock_now_ns());
    }
    if (d->fail) log_write(LOG_ERROR, "non-finite gradient in wm/rssm/t07/gru");
    fake_run_status(&d->run, d->fail ? PHASE_FAILED : PHASE_DONE, d->fail ? "non-finite gradient in wm/rssm/t07/gru at update 400; see sessions/demo/failures/u000400" : "");
    return NULL;
}

static void tick(void *ctx, const struct feed_pictures *pictures, const struct feed_status *status) {
    (void)pictures, (void)status;
    ((struct demo *)ctx)->turns++;
}

static const char *no_window(void *ctx) {
    (void)ctx;
    return "no display here: the terminal pictures serve";
}

int main(int argc, char **argv) {
    struct demo d = {.rate = 40};
    struct dashboard_opts opts = {.tick = tick, .tick_ctx = &d, .toggle_window = no_window};
    fake_run_init(&d.run, 2000);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--steps")) d.run.target = atoll(value), i++;
        else if (!strcmp(argv[i], "--rate")) d.rate = atoi(value), i++;
        else if (!strcmp(argv[i], "--start")) d.start = atoll(value), i++;
        else if (!strcmp(argv[i], "--nan")) d.run.nan_step = atoll(value), i++;
        else if (!strcmp(argv[i], "--crash")) d.crash = value, i++;
        else if (!strcmp(argv[i], "--script")) opts.script = value, i++;
        else if (!strcmp(argv[i], "--print")) d.print = true;
        else if (!strcmp(argv[i], "--fail")) d.fail = true;
        else if (!strcmp(argv[i], "--ascii")) opts.ascii = true;
        else if (!strcmp(argv[i], "--no-color")) opts.no_color = true;
        else if (!strcmp(argv[i], "--keep-running")) opts.keep_running = true;
        else return 2;
    }
    opts.feed = d.run.feed;
    pthread_t thread;
    pthread_create(&thread, NULL, writer, &d);
    struct error e = {0};
    int64_t cpu = clock_thread_cpu_ns(), wall = clock_now_ns();
    enum dashboard_end end = dashboard_run(&opts, &e);
    cpu = clock_thread_cpu_ns() - cpu, wall = clock_now_ns() - wall;
    static const char *const names[] = {"error", "quit", "forced", "finished", "hangup", "signal"};
    bool stopped = control_stop_requested(feed_control(d.run.feed));
    control_stop(feed_control(d.run.feed));
    pthread_join(thread, NULL);
    printf("end=%s stop=%d cpu=%.2f%% turns/s=%.1f %s\n", names[end], stopped, 100.0 * (double)cpu / (double)wall,
           (double)d.turns / ((double)wall * 1e-9), e.message);
    fake_run_deinit(&d.run);
    return end == DASHBOARD_ERROR ? 2 : 0;
}
