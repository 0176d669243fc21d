// Data-parallel training: ranks with a share of the batch each make the updates of one rank with
// all of it.
//
// The ranks are threads; where mpirun is installed, the program also starts itself twice with it,
// and the same comparison runs over MPI (the variable below says so to the copies).
#include "support/config_of.h"

#include <math.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/algo/dreamer_v3/dreamer.h"
#include "support/mpirun.h"
#include "support/rank_share.h"
#include "support/thread_ranks.h"

#define AS_MPI_RANK "WORKBENCH_TEST_MPI_RANK"
enum { ACTIONS = 5, BATCH = 4, UPDATES = 4 };
static const char *const SMALL[] = {"algo.per_rank_sequence_length=6", "algo.horizon=4", NULL};

static const char *profile = "algo.profile=sheeprl";

static struct config small_config(int batch) {
    char size[64];
    snprintf(size, sizeof size, "algo.per_rank_batch_size=%d", batch);
    struct config c = config_of("micro", (const char *const[]){profile, size, NULL});
    config_take(&c, SMALL);
    return c;
}

static struct dreamer *train(int batch, struct ranks *ranks, int poison) {
    const struct config c = small_config(batch);
    struct pool *pool = pool_new(1);
    struct dreamer *d = dreamer_new(
        &(struct dreamer_opts){.config = &c, .n_actions = ACTIONS, .pool = pool, .ranks = ranks});
    struct dreamer_result r;
    for (int i = 0; i < UPDATES; i++) {
        const struct wm_batch *b = wm_batch(dreamer_world(d));
        fill_share(b, (uint64_t)i, ranks_share(ranks, BATCH).first, BATCH);
        if (i == poison && (!ranks || ranks->rank == 1)) b->rewards[0] = (real)NAN;
        const bool fine = dreamer_update(d, &r);
        if (fine != (i != poison)) fail_msg("update %d: %s", i, r.bad_node);
        if (!fine) break;
    }
    // The pool is needed no more; what is compared stays.
    pool_free(pool);
    return d;
}

// Largest distance of a parameter set, relative to its size.
static double distance(const struct params *a, const struct params *b) {
    double difference = 0, size = 0;
    for (int64_t i = 0; i < b->n_flat; i++) {
        difference += pow((double)(a->weights[i] - b->weights[i]), 2);
        size += pow((double)b->weights[i], 2);
    }
    return sqrt(difference) / (sqrt(size) + 1e-30);
}

static bool is_near(struct dreamer *a, struct dreamer *b, char *what, size_t size) {
    static const char *const names[] = {"world model", "actor", "critic", "target critic"};
    for (int s = 0; s < DREAMER_N_SETS; s++) {
        const double d = distance(dreamer_params(a, (enum dreamer_set)s),
                                  dreamer_params(b, (enum dreamer_set)s));
        snprintf(what, size, "%s: %.3g", names[s], d);
        if (!(d <= 1e-5)) return false;
    }
    for (int k = 0; k < 2; k++) {
        const double x = (double)dreamer_range(a)[k], y = (double)dreamer_range(b)[k];
        snprintf(what, size, "range: %.9g, not %.9g", x, y);
        if (!(fabs(x - y) <= 1e-5 * fabs(y)) || y == 0) return false;
    }
    return true;
}

struct rank_thread {
    pthread_t thread;
    struct ranks *ranks;
    int poison;
    struct dreamer *d;
};

static void *run_rank(void *ctx) {
    struct rank_thread *t = ctx;
    t->d = train(BATCH / t->ranks->n, t->ranks, t->poison);
    return NULL;
}

static void run_ranks(struct rank_thread *t, struct thread_ranks *ranks, int n, int poison) {
    thread_ranks_init(ranks, n);
    for (int k = 0; k < n; k++) {
        t[k] = (struct rank_thread){.ranks = &ranks->ranks[k], .poison = poison};
        assert_int_equal(pthread_create(&t[k].thread, NULL, run_rank, &t[k]), 0);
    }
    for (int k = 0; k < n; k++) pthread_join(t[k].thread, NULL);
}

static void end_ranks(struct rank_thread *t, struct thread_ranks *ranks) {
    for (int k = 0; k < ranks->n; k++) dreamer_free(t[k].d);
    thread_ranks_deinit(ranks);
}

static void assert_same(struct dreamer *a, struct dreamer *b) {
    for (int s = 0; s < DREAMER_N_SETS; s++) {
        const struct params *p = dreamer_params(a, (enum dreamer_set)s),
                            *q = dreamer_params(b, (enum dreamer_set)s);
        assert_memory_equal(p->weights, q->weights, (size_t)p->n_flat * sizeof(real));
    }
}

static void ranks_make_the_updates_of_one(int n) {
    struct rank_thread t[THREAD_RANKS_MAX];
    struct thread_ranks ranks;
    char what[128];
    struct dreamer *one = train(BATCH, NULL, -1);
    run_ranks(t, &ranks, n, -1);
    if (!is_near(t[0].d, one, what, sizeof what)) fail_msg("%s", what);
    for (int k = 1; k < n; k++) assert_same(t[0].d, t[k].d); // to the bit
    end_ranks(t, &ranks);
    dreamer_free(one);
}

static void two_ranks_of_half_a_batch_give_the_weights_of_one(void **state) {
    (void)state;
    ranks_make_the_updates_of_one(2);
}

static void four_ranks_do_too(void **state) {
    (void)state;
    ranks_make_the_updates_of_one(4);
}

// One graph, clipping by tensor, a critic that learns from replayed rows too.
static void the_official_profile_does_too(void **state) {
    (void)state;
    profile = "algo.profile=official";
    ranks_make_the_updates_of_one(2);
    profile = "algo.profile=sheeprl";
}

// The comparison would see it.
static void a_rank_that_draws_its_own_noise_is_noticed(void **state) {
    (void)state;
    struct thread_ranks ranks;
    struct rank_thread t[THREAD_RANKS_MAX];
    char what[128];
    struct dreamer *one = train(BATCH, NULL, -1), *half = train(BATCH / 2, NULL, -1);
    assert_false(is_near(half, one, what, sizeof what));
    run_ranks(t, &ranks, 2, -1);
    assert_false(is_near(half, t[0].d, what, sizeof what));
    end_ranks(t, &ranks);
    dreamer_free(half);
    dreamer_free(one);
}

// One rank's rewards are not numbers: both stop at that update, none waits for the other.
static void a_bad_number_on_one_rank_stops_all(void **state) {
    (void)state;
    struct rank_thread t[THREAD_RANKS_MAX];
    struct thread_ranks ranks;
    run_ranks(t, &ranks, 2, 2);
    for (int k = 0; k < 2; k++) assert_int_equal(wm_opt_steps(dreamer_world(t[k].d)), 2);
    assert_same(t[0].d, t[1].d);
    end_ranks(t, &ranks);
}

static void shares_cover_the_batch(void **state) {
    (void)state;
    struct thread_ranks ranks;
    thread_ranks_init(&ranks, 3);
    for (int k = 0; k < 3; k++) {
        const struct rank_share s = ranks_share(&ranks.ranks[k], 12);
        assert_int_equal(s.first, 4 * k);
        assert_int_equal(s.n, 4);
    }
    const struct rank_share alone = ranks_share(NULL, 7);
    assert_true(alone.first == 0 && alone.n == 7);
    thread_ranks_deinit(&ranks);
}

// ---- over MPI: this program again, under mpirun

static int as_mpi_rank(void) {
    char why[256] = "", what[128];
    struct ranks *ranks = ranks_open_mpi(why, sizeof why);
    if (!ranks) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    struct dreamer *d = train(BATCH / ranks->n, ranks, -1), *one = train(BATCH, NULL, -1);
    const bool near = ranks->n == 2 && is_near(d, one, what, sizeof what);
    if (!near) fprintf(stderr, "rank %d of %d: %s\n", ranks->rank, ranks->n, what);
    dreamer_free(d);
    dreamer_free(one);
    ranks_close(ranks);
    return near ? 0 : 1;
}

static void two_mpi_processes_give_the_weights_of_one(void **state) {
    (void)state;
    char self[4096], command[5000];
    skip_without_mpirun();
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    snprintf(command, sizeof command,
             "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 " AS_MPI_RANK
             "=1 timeout 120 mpirun --oversubscribe -n 2 '%s' 2>&1",
             self);
    const int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void without_mpirun_the_ranks_say_so(void **state) {
    (void)state;
    char why[256] = "";
    assert_null(ranks_open_mpi(why, sizeof why));
    assert_non_null(strstr(why, "mpirun"));
}

int main(void) {
    if (getenv(AS_MPI_RANK)) return as_mpi_rank();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_cover_the_batch),
        cmocka_unit_test(two_ranks_of_half_a_batch_give_the_weights_of_one),
        cmocka_unit_test(four_ranks_do_too),
        cmocka_unit_test(the_official_profile_does_too),
        cmocka_unit_test(a_rank_that_draws_its_own_noise_is_noticed),
        cmocka_unit_test(a_bad_number_on_one_rank_stops_all),
        cmocka_unit_test(without_mpirun_the_ranks_say_so),
        cmocka_unit_test(two_mpi_processes_give_the_weights_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
