// Ranks watch: a thread that notices when the process of another rank on this machine is gone.
//
// A rank that waits in a sum for one that has died would wait for ever. mpirun ends the others
// then, but tells them no more than SIGTERM; srun leaves them waiting unless it was told otherwise.
#define _GNU_SOURCE
#include "engine/graph/ranks_watch.h"

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/graph/ranks.h"

struct ranks_watch {
    pthread_t thread;
    int n, end; // end: an eventfd, the last of list
    int64_t *pids;
    int *ranks;
    struct pollfd *list;
};

// Processes can watch one another where all of this is equal: a container has process numbers of
// its own.
struct place {
    char boot[40], numbers[64];
    int64_t pid;
};

static struct place find_place(void) {
    struct place p = {.pid = getpid()};
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f && !fgets(p.boot, sizeof p.boot, f)) p.boot[0] = 0;
    if (f) fclose(f);
    if (!p.boot[0]) gethostname(p.boot, sizeof p.boot - 1);
    if (readlink("/proc/self/ns/pid", p.numbers, sizeof p.numbers - 1) < 0) p.numbers[0] = 0;
    return p;
}

static void *watch(void *ctx) {
    struct ranks_watch *w = ctx;
    for (;;) {
        if (poll(w->list, (nfds_t)w->n + 1, -1) < 0) continue;
        if (w->list[w->n].revents) return NULL;
        for (int i = 0; i < w->n; i++) {
            if (!w->list[i].revents) continue;
            fprintf(stderr,
                    "workbench: rank %d (process %lld) is gone, the others cannot go on; --resume "
                    "goes on from the last checkpoint\n",
                    w->ranks[i], (long long)w->pids[i]);
            _exit(STATUS_FAILED);
        }
    }
}

static void add(struct ranks_watch *w, int rank, int64_t pid) {
    const int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (fd < 0) return;
    w->list[w->n] = (struct pollfd){.fd = fd, .events = POLLIN};
    w->ranks[w->n] = rank;
    w->pids[w->n++] = pid;
}

void ranks_watch(struct ranks *r) {
    const struct place mine = find_place();
    const struct place *all = ranks_gathered(r, &mine, sizeof mine);
    struct ranks_watch *w = r->watch = mem_alloc(sizeof *w);
    w->list = mem_alloc(((size_t)r->n + 1) * sizeof *w->list);
    w->ranks = mem_alloc((size_t)r->n * sizeof *w->ranks);
    w->pids = mem_alloc((size_t)r->n * sizeof *w->pids);
    r->local = r->n_local = 0;
    for (int k = 0; k < r->n; k++) {
        if (strcmp(all[k].boot, mine.boot) != 0) continue;
        r->n_local++;
        r->local += k < r->rank;
        if (k != r->rank && strcmp(all[k].numbers, mine.numbers) == 0) add(w, k, all[k].pid);
    }
    w->end = eventfd(0, EFD_CLOEXEC);
    CHECK(w->end >= 0, "no eventfd");
    w->list[w->n] = (struct pollfd){.fd = w->end, .events = POLLIN};
    CHECK(pthread_create(&w->thread, NULL, watch, w) == 0, "no thread for the watch");
    pthread_setname_np(w->thread, "wb-ranks");
}

void ranks_unwatch(struct ranks_watch *w) {
    if (!w) return;
    const uint64_t one = 1;
    CHECK(write(w->end, &one, sizeof one) == sizeof one, "the watch cannot be ended");
    pthread_join(w->thread, NULL);
    for (int i = 0; i <= w->n; i++) close(w->list[i].fd);
    free(w->list);
    free(w->ranks);
    free(w->pids);
    free(w);
}
