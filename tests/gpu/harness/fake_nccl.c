// Fake NCCL: the few functions of libnccl.so.2 that the device library calls, over host memory, for
// ranks that are threads of one process. What is enqueued is done at once, as all in the harness.
//
// FAKE_NCCL=broken: sums are those of rank 0 alone. FAKE_NCCL=refuses: nobody can join.
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_GROUPS = 64, MAX_RANKS = 8, FLOAT32 = 7, SUM = 0 };
enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4 };
typedef struct {
    char internal[128];
} ncclUniqueId;

struct group {
    pthread_barrier_t barrier;
    int n;
    const float *given[MAX_RANKS];
};
struct ncclComm {
    struct group *group;
    int rank;
};
static struct group groups[MAX_GROUPS];
static int n_groups;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is(const char *what) {
    const char *how = getenv("FAKE_NCCL");
    return how && strcmp(how, what) == 0;
}

int ncclGetUniqueId(ncclUniqueId *out);
int ncclGetUniqueId(ncclUniqueId *out) {
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&lock);
    out->internal[127] = (char)n_groups++; // the last byte: ids are passed on whole
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

int ncclCommInitRank(struct ncclComm **out, int n, ncclUniqueId id, int rank);
int ncclCommInitRank(struct ncclComm **out, int n, ncclUniqueId id, int rank) {
    const int index = id.internal[127];
    if (is("refuses")) return SYSTEM_ERROR;
    if (index >= n_groups || n > MAX_RANKS || rank < 0 || rank >= n) return INVALID_ARGUMENT;
    struct group *g = &groups[index];
    pthread_mutex_lock(&lock);
    if (!g->n) pthread_barrier_init(&g->barrier, NULL, (unsigned)n);
    g->n = n;
    pthread_mutex_unlock(&lock);
    pthread_barrier_wait(&g->barrier);
    *out = malloc(sizeof **out);
    **out = (struct ncclComm){g, rank};
    return SUCCESS;
}

int ncclCommDestroy(struct ncclComm *c);
int ncclCommDestroy(struct ncclComm *c) {
    free(c);
    return SUCCESS;
}

// All know a copy of what every rank gives; the caller frees its own when all are done.
static float *meet(struct ncclComm *c, const void *from, size_t n) {
    float *mine = malloc(n * sizeof *mine);
    memcpy(mine, from, n * sizeof *mine);
    c->group->given[c->rank] = mine;
    pthread_barrier_wait(&c->group->barrier);
    return mine;
}

int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, struct ncclComm *c,
                  void *stream);
int ncclAllReduce(const void *from, void *to, size_t n, int type, int op, struct ncclComm *c,
                  void *stream) {
    (void)stream;
    if (type != FLOAT32 || op != SUM) return INVALID_ARGUMENT;
    float *mine = meet(c, from, n), *sum = to;
    for (size_t i = 0; i < n; i++) {
        float s = 0;
        for (int k = 0; k < c->group->n; k++) s += c->group->given[is("broken") ? 0 : k][i];
        sum[i] = s;
    }
    pthread_barrier_wait(&c->group->barrier);
    free(mine);
    return SUCCESS;
}

int ncclAllGather(const void *from, void *to, size_t n, int type, struct ncclComm *c, void *stream);
int ncclAllGather(const void *from, void *to, size_t n, int type, struct ncclComm *c,
                  void *stream) {
    (void)stream;
    if (type != FLOAT32) return INVALID_ARGUMENT;
    float *mine = meet(c, from, n);
    for (int k = 0; k < c->group->n; k++)
        memcpy((float *)to + (size_t)k * n, c->group->given[k], n * sizeof(float));
    pthread_barrier_wait(&c->group->barrier);
    free(mine);
    return SUCCESS;
}

const char *ncclGetErrorString(int result);
const char *ncclGetErrorString(int result) {
    return result == SUCCESS        ? "no error"
           : result == SYSTEM_ERROR ? "unhandled system error"
                                    : "invalid argument";
}
