// Log: the last LOG_LINES lines of the program, written from any thread without a lock, read by the
// screens.
//
// Nothing is printed unless log_to_stderr(true) (headless) is on; the dashboard shows the ring in
// its log pane.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_INFO, LOG_WARN, LOG_ERROR };
enum { LOG_LINES = 1024, LOG_LINE_SIZE = 240 };

struct log_line {
    enum log_level level;
    double time_s;            // since the program started
    char text[LOG_LINE_SIZE]; // UTF-8, no control characters, cut to fit
};

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_to_stderr(bool on);
int64_t log_count(void); // lines written so far
bool log_read(int64_t index,
              struct log_line *out); // false if overwritten already, or not there yet

#endif
