// Clocks: monotonic time for measuring, UTC text for names.
#define _GNU_SOURCE
#include "base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_now_ns(void) { return read_clock(CLOCK_MONOTONIC); }
int64_t clock_thread_cpu_ns(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

void clock_sleep_ns(int64_t ns) {
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&t, NULL);
}

static void utc(const char *format, char *out, size_t size) {
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    if (strftime(out, size, format, &tm) == 0 && size) out[0] = 0;
}

void clock_utc_compact(char *out, size_t size) { utc("%Y%m%dT%H%M%SZ", out, size); }
void clock_utc_iso(char *out, size_t size) { utc("%Y-%m-%dT%H:%M:%SZ", out, size); }
