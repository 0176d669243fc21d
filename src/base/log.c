// Log: a ring of lines, each guarded by its own sequence number (odd while it is written).
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { LINE_WORDS = (sizeof(struct log_line) + 7) / 8 };

struct slot {
    atomic_llong sequence;           // 2 * (index + 1) when line `index` is complete
    atomic_ullong words[LINE_WORDS]; // atomics, so that a torn read is defined and detected
};

static struct slot ring[LOG_LINES];
static atomic_llong n_lines;
static atomic_bool to_stderr;
static atomic_llong start_ns;

void log_to_stderr(bool on) { atomic_store(&to_stderr, on); }
int64_t log_count(void) { return atomic_load(&n_lines); }

void log_write(enum log_level level, const char *format, ...) {
    long long zero = 0, now = clock_now_ns();
    atomic_compare_exchange_strong(&start_ns, &zero, now);
    union {
        struct log_line line;
        unsigned long long words[LINE_WORDS];
    } u;
    memset(&u, 0, sizeof u);
    u.line.level = level;
    u.line.time_s = (double)(now - atomic_load(&start_ns)) * 1e-9;
    va_list ap;
    va_start(ap, format);
    vsnprintf(u.line.text, sizeof u.line.text, format, ap);
    va_end(ap);
    for (char *c = u.line.text; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) *c = ' ';
    if (atomic_load(&to_stderr))
        fprintf(stderr, "%s%s\n",
                level == LOG_INFO   ? ""
                : level == LOG_WARN ? "warning: "
                                    : "error: ",
                u.line.text);

    long long index = atomic_fetch_add(&n_lines, 1);
    struct slot *s = &ring[index % LOG_LINES];
    long long seen = atomic_load_explicit(&s->sequence, memory_order_relaxed);
    // A writer held up for a whole lap must not mix its line into a newer one: one of the two is
    // lost.
    do {
        if (seen & 1 || seen > 2 * index) return;
    } while (!atomic_compare_exchange_weak_explicit(&s->sequence, &seen, 2 * index + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    atomic_thread_fence(memory_order_release);
    for (int i = 0; i < LINE_WORDS; i++)
        atomic_store_explicit(&s->words[i], u.words[i], memory_order_relaxed);
    atomic_store_explicit(&s->sequence, 2 * index + 2, memory_order_release);
}

bool log_read(int64_t index, struct log_line *out) {
    if (index < 0 || index >= log_count()) return false;
    struct slot *s = &ring[index % LOG_LINES];
    union {
        struct log_line line;
        unsigned long long words[LINE_WORDS];
    } u;
    if (atomic_load_explicit(&s->sequence, memory_order_acquire) != 2 * index + 2) return false;
    for (int i = 0; i < LINE_WORDS; i++)
        u.words[i] = atomic_load_explicit(&s->words[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&s->sequence, memory_order_relaxed) != 2 * index + 2) return false;
    *out = u.line;
    return true;
}
