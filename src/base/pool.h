// Thread pool: runs n tasks of one function on a fixed number of threads.
//
//     struct pool *p = pool_new(2);
//     pool_run(p, 8, task, &ctx);          // task(ctx, 0..7), returns when all are done
//     pool_free(p);
//
// The caller takes part in the work. Which thread runs a task is not fixed: a task must depend on
// its index only, never on the thread, so results don't depend on the number of threads. Workers
// spin for a short while and then sleep, so an idle pool costs nothing. One pool is driven by one
// thread at a time.
#ifndef BASE_POOL_H
#define BASE_POOL_H

struct pool;
typedef void pool_task(void *ctx, int task);

struct pool *pool_new(int n_threads); // n_threads >= 1 counts the caller; 1 starts no thread
void pool_free(struct pool *p);       // NULL is fine
int pool_threads(const struct pool *p);
int pool_usable_cpus(void); // CPUs that this process may use, 1 .. 64: a default for n_threads
void pool_run(struct pool *p, int n_tasks, pool_task *task, void *ctx);

#endif
