// The harness's streams: which launch comes after which, events, captured graphs, timers.
#include "harness_parts.h"

#include <chrono>

enum { BEFORE_LAUNCHES = 1 }; // a cell's launch number where the host wrote it

struct gpu_event {
    clocks over;
};

static std::vector<int> stream_of(BEFORE_LAUNCHES + 1, -1); // by launch
static clocks over_for_host;
static int n_streams;
static const gpu_device *running; // whose launch it is

static void merge(clocks *into, const clocks &from) {
    for (const auto &c : from)
        if (c.second > (*into)[c.first]) (*into)[c.first] = c.second;
}

bool harness_is_over(uint32_t launch) {
    const int stream = stream_of[launch];
    if (stream < 0 || stream == running->stream) return true;
    const auto known = running->over.find(stream);
    return known != running->over.end() && launch <= known->second;
}

uint32_t harness_enqueue(gpu_device *d) {
    merge(&d->over, over_for_host);
    stream_of.push_back(d->stream);
    const uint32_t launch = (uint32_t)stream_of.size() - 1;
    d->over[d->stream] = launch;
    running = d;
    return launch;
}

gpu_device *gpu_open(char *message, size_t size) {
    (void)message;
    (void)size;
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    n_taken++;
    return new gpu_device{n_streams++, {}, nullptr, nullptr};
}
void gpu_close(gpu_device *d) {
    n_taken -= d != nullptr;
    delete d;
}

// The host waits: what it enqueues from now on, in any stream, comes after all that is in this one.
bool gpu_finish(gpu *g) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (g->device->capture) return harness_may(g, "the host waits");
    merge(&over_for_host, g->device->over);
    harness_settle_pinned(g, over_for_host);
    return !g->failed;
}
void *gpu_stream(const gpu *g) {
    (void)g;
    return nullptr;
}

// ---- events

gpu_event *gpu_event_new(gpu *g) {
    (void)g;
    n_taken++;
    return new gpu_event{};
}
void gpu_event_free(gpu_event *e) {
    n_taken -= e != nullptr;
    delete e;
}

bool gpu_record(gpu *g, gpu_event *e) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (g->device->capture) return harness_may(g, "an event is recorded");
    merge(&g->device->over, over_for_host);
    e->over = g->device->over;
    return true;
}

bool gpu_await(gpu *g, const gpu_event *e) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (g->device->capture) return harness_may(g, "an event is awaited");
    merge(&g->device->over, e->over);
    return true;
}

bool gpu_event_finish(gpu *g, const gpu_event *e) {
    std::lock_guard<std::recursive_mutex> lock(one_launch);
    if (g->device->capture) return harness_may(g, "the host waits");
    merge(&over_for_host, e->over);
    harness_settle_pinned(g, over_for_host);
    return !g->failed;
}

struct gpu_timer { // a launch is over when it is enqueued: the host's clock
    std::chrono::steady_clock::time_point ends[2];
};
gpu_timer *gpu_timer_new(gpu *g) {
    (void)g;
    n_taken++;
    return new gpu_timer{};
}
void gpu_timer_free(gpu_timer *t) {
    n_taken -= t != nullptr;
    delete t;
}
bool gpu_timer_mark(gpu *g, gpu_timer *t, int end) {
    if (g->device->capture) return harness_may(g, "a time is taken");
    t->ends[end] = std::chrono::steady_clock::now();
    return !g->failed;
}
double gpu_timer_between(gpu *g, gpu_timer *from, int end, gpu_timer *to, int end_of_to) {
    (void)g;
    const std::chrono::duration<double, std::milli> d = to->ends[end_of_to] - from->ends[end];
    return d.count();
}
double gpu_timer_ms(gpu *g, gpu_timer *t) { return gpu_timer_between(g, t, 0, t, 1); }

// ---- capture: what would be enqueued is kept instead

bool gpu_capture_begin(gpu *g) {
    if (g->device->capture) gpu_fail(g, "two captures at once");
    if (!g->failed) g->device->capture = new gpu_capture{};
    g->device->capturer = g;
    return !g->failed;
}

gpu_capture *gpu_capture_end(gpu *g) {
    gpu_capture *c = g->device->capture;
    g->device->capture = nullptr;
    if (!g->failed) return c;
    delete c;
    return nullptr;
}

void gpu_capture_free(gpu_capture *c) { delete c; }

int64_t gpu_capture_nodes(const gpu_capture *c) { return c ? (int64_t)c->what.size() : 0; }
void gpu_hold(gpu *g, int microseconds) { (void)g, (void)microseconds; }

bool gpu_replay(gpu *g, const gpu_capture *c) {
    for (const auto &step : c->what)
        if (!g->failed) step(g);
    return !g->failed;
}

bool harness_capture(gpu *g, std::function<void(gpu *)> what) {
    if (!g->device->capture) return false;
    g->device->capture->what.push_back(what);
    return true;
}

bool harness_may(gpu *g, const char *what) {
    if (g->device->capture) gpu_fail(g, "%s while a graph is captured", what);
    return !g->failed;
}
