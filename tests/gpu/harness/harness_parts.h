// Inside of the harness: what launches (harness.cpp), streams (harness_streams.cpp) and device
// memory (harness_device.cpp) share. One launch at a time, whichever thread of the program asks for
// it.
#ifndef TESTS_GPU_HARNESS_PARTS_H
#define TESTS_GPU_HARNESS_PARTS_H

#include "gpu/gpu.h"

#include <functional>
#include <map>
#include <mutex>
#include <vector>

extern std::recursive_mutex one_launch;

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
};

// ---- harness_streams.cpp
// The number of what is enqueued now, which comes after everything that the host knows to be over.
uint32_t harness_enqueue(gpu_device *d);
bool harness_may(gpu *g, const char *what); // false, and a failure: a captured graph cannot hold it

// ---- harness.cpp
// Between the two, mistakes are those of `what`: a launch, or a copy that goes through the stream.
void harness_begin(gpu *g, const char *what);
void harness_end(void);

#endif
