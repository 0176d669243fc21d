// Inside of the harness: what launches (harness.cpp), streams (harness_streams.cpp) and device
// memory (harness_device.cpp) share. One launch at a time, whichever thread of the program asks for
// it.
#ifndef TESTS_GPU_HARNESS_PARTS_H
#define TESTS_GPU_HARNESS_PARTS_H

#include "gpu/gpu.h"

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

extern std::recursive_mutex one_launch;
extern std::atomic<int64_t> n_taken; // streams, memory of both kinds, events, timers not given back
bool harness_take_memory(gpu *g, size_t bytes); // of both kinds; false, and a failure: none is left

// What is known to be over: of each stream, launches up to that number.
typedef std::map<int, uint32_t> clocks;
typedef std::vector<std::function<void(gpu *)>> tape;
struct gpu_capture {
    tape what;
};
struct gpu_device {
    int stream;
    clocks over;          // before whatever is enqueued from now on
    gpu_capture *capture; // NULL: nothing is captured
    gpu *capturer;        // who began that
};

// ---- harness_streams.cpp
// The number of what is enqueued now, which comes after everything that the host knows to be over.
uint32_t harness_enqueue(gpu_device *d);
bool harness_may(gpu *g, const char *what); // false, and a failure: a captured graph cannot hold it

// ---- harness_pinned.cpp
// A copy of n bytes between the device and the host, enqueued as number `launch`; what arrives is
// not there yet. False: the host's memory is not pinned.
bool harness_send_pinned(const gpu_device *d, uint32_t launch, void *host, const void *bytes,
                         size_t n, bool arrives);
void harness_settle_pinned(gpu *g, const clocks &over_for_host); // the host has waited

// ---- harness.cpp
// Between the two, mistakes are those of `what`: a launch, or a copy that goes through the stream.
void harness_begin(gpu *g, const char *what);
void harness_end(void);

#endif
