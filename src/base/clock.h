// Clocks: monotonic time for measuring, UTC text for names.
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_now_ns(void);                                      // monotonic
int64_t clock_thread_cpu_ns(void);                               // CPU time of the calling thread
void clock_sleep_ns(int64_t ns);
void clock_utc_compact(char *out, size_t size);                  // "20261120T230434Z"
void clock_utc_iso(char *out, size_t size);                      // "2026-11-20T23:04:34Z"

#endif
