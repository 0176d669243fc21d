// Demo: the dashboard on an invented run, to look at it without the engine. Not installed.
//
//     demo_dashboard [--steps N] [--rate N] [--start N] [--nan N] [--crash SEGV|CHECK|EXIT]
//                    [--print] [--fail] [--full] [--script FILE] [--ascii] [--no-color]
//                    [--keep-running]
// Afterwards it prints how the dashboard ended, the CPU share of its thread and its turns a second.
#include <stdio.h>
#include <string.h>

#include "support/fake_worker.h"
#include "ui/dashboard.h"

static void tick(void *ctx, const struct feed_pictures *pictures,
                 const struct feed_status *status) {
    (void)pictures, (void)status;
    ++*(long *)ctx;
}

static const char *no_window(void *ctx) {
    (void)ctx;
    return "no display here: the terminal pictures serve";
}

int main(int argc, char **argv) {
    long turns = 0;
    struct fake_worker w = {.rate = 40};
    struct dashboard_opts opts = {.tick = tick, .tick_ctx = &turns, .toggle_window = no_window};
    fake_run_init(&w.run, 2000);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--steps"))
            w.run.target = atoll(value), i++;
        else if (!strcmp(argv[i], "--rate"))
            w.rate = atoi(value), i++;
        else if (!strcmp(argv[i], "--start"))
            w.start = atoll(value), i++;
        else if (!strcmp(argv[i], "--nan"))
            w.run.nan_step = atoll(value), i++;
        else if (!strcmp(argv[i], "--crash"))
            w.crash = value, i++;
        else if (!strcmp(argv[i], "--script"))
            opts.script = value, i++;
        else if (!strcmp(argv[i], "--full"))
            w.run.full = true;
        else if (!strcmp(argv[i], "--print"))
            w.print = true;
        else if (!strcmp(argv[i], "--fail"))
            w.fail = true;
        else if (!strcmp(argv[i], "--ascii"))
            opts.ascii = true;
        else if (!strcmp(argv[i], "--no-color"))
            opts.no_color = true;
        else if (!strcmp(argv[i], "--keep-running"))
            opts.keep_running = true;
        else
            return 2;
    }
    if (w.rate < 1) return 2;
    opts.feed = w.run.feed;
    fake_worker_start(&w);
    struct error e = {0};
    int64_t cpu = clock_thread_cpu_ns(), wall = clock_now_ns();
    enum dashboard_end end = dashboard_run(&opts, &e);
    cpu = clock_thread_cpu_ns() - cpu, wall = clock_now_ns() - wall;
    static const char *const names[] = {"error", "quit", "forced", "finished", "hangup", "signal"};
    bool stopped = control_stop_requested(feed_control(w.run.feed));
    fake_worker_finish(&w);
    printf("end=%s stop=%d cpu=%.2f%% turns/s=%.1f %s\n", names[end], stopped,
           100.0 * (double)cpu / (double)wall, (double)turns / ((double)wall * 1e-9), e.message);
    return end == DASHBOARD_ERROR ? 2 : 0;
}
