// A GPU whose memory is too small: what was taken is given back, and the program ends with one line
// and exit code 1. On the harness: no GPU's memory is filled for a test.
#include <sys/wait.h>

#include "engine/algo/ppo/device_rollout.h"
#include "engine/env/device_play.h"
#include "gpu/device_run.h"
#include "gpu/harness/memory.h"
#include "ui/cli.h"

static const char *const DREAMER[] = {
    "algo.per_rank_batch_size=1", "algo.per_rank_sequence_length=2", "metric.log_every=1", NULL};
static const char *const OFFICIAL[] = {"algo.per_rank_batch_size=1",
                                       "algo.per_rank_sequence_length=2", "metric.log_every=1",
                                       "algo.profile=official", NULL};
static const char *const PPO[] = {"env.num_envs=2",          "algo.rollout_steps=4",
                                  "algo.minibatches=2",      "algo.update_epochs=1",
                                  "env.max_episode_steps=3", NULL};

// ---- everything that a run makes on the device, with the memory ending at each of its blocks

static struct backend whole; // the library's own functions
static struct device_play whole_play;
static struct device_rollouts whole_rollouts;
static int64_t n_made, n_refused;

static void refused(const char *what, const char *message) {
    if (!strstr(message, "out of memory")) fail_msg("%s: \"%s\"", what, message);
    n_refused++;
}

// call, with no memory, with one block, with two, until it is enough.
#define SQUEEZED(type, what, message, call)                                                        \
    do {                                                                                           \
        type *made = NULL;                                                                         \
        for (int64_t left = 0; !made; left++) {                                                    \
            memory_left(left);                                                                     \
            made = (call);                                                                         \
            memory_left(-1);                                                                       \
            if (!made) refused(what, message);                                                     \
        }                                                                                          \
        n_made++;                                                                                  \
        return made;                                                                               \
    } while (0)

static struct backend_graph *graph_new_(const struct graph *g, char *message, size_t size) {
    SQUEEZED(struct backend_graph, "a graph", message, whole.graph_new(g, message, size));
}

static struct backend_program *program_new_(const struct backend_command *list, int n,
                                            char *message, size_t size) {
    SQUEEZED(struct backend_program, "a program", message,
             whole.program_new(list, n, message, size));
}

static struct device_machines *machines_new(const struct device_machines_opts *o, char *message,
                                            size_t size) {
    SQUEEZED(struct device_machines, "machines", message,
             whole_play.machines_new(o, message, size));
}

static struct device_ring *ring_new(const struct device_ring_opts *o, struct device_machines *m,
                                    char *message, size_t size) {
    SQUEEZED(struct device_ring, "a ring", message, whole_play.ring_new(o, m, message, size));
}

static struct device_rollout *rollout_new(const struct device_rollout_opts *o, char *message,
                                          size_t size) {
    SQUEEZED(struct device_rollout, "a rollout", message,
             whole_rollouts.rollout_new(o, message, size));
}

// The table that runs use is the library's own, which it fills once.
static struct backend *table_of_runs(void) {
    char why[BACKEND_MESSAGE_SIZE];
    const struct backend *b = backend_open(NULL, why, sizeof why);
    if (!b) fail_msg("%s", why);
    return (struct backend *)(uintptr_t)b;
}

static void squeeze(struct backend *b) {
    static struct device_play play;
    static struct device_rollouts rollouts;
    whole = *b;
    whole_play = play = *b->play;
    whole_rollouts = rollouts = *b->rollouts;
    b->graph_new = graph_new_;
    b->program_new = program_new_;
    play.machines_new = machines_new;
    play.ring_new = ring_new;
    rollouts.rollout_new = rollout_new;
    b->play = &play;
    b->rollouts = &rollouts;
}

static struct run_opts ppo_run(void) {
    return (struct run_opts){.algo = "ppo",
                             .task = "exit_lab",
                             .device = "cuda",
                             .updates = 1,
                             .n_threads = 1,
                             .no_session = true,
                             .no_media = true,
                             .settings = PPO,
                             .n_settings = sizeof PPO / sizeof *PPO - 1};
}

static void memory_that_ends_anywhere_is_given_back_and_the_run_can_begin_again(void **state) {
    (void)state;
    struct backend *b = table_of_runs();
    const int64_t before = memory_taken();
    squeeze(b);
    for (int k = 0; k < 3; k++) {
        struct error e = {0};
        const struct run_opts o =
            k == 2 ? ppo_run() : device_run("cuda", k ? OFFICIAL : DREAMER, 1);
        n_made = n_refused = 0;
        if (run_worker(&o, NULL, &e) != STATUS_OK) fail_msg("%s", e.message);
        assert_true(n_made >= 4 && n_refused > 10 * n_made);
        assert_int_equal(memory_taken(), before);
    }
    *b = whole;
}

// ---- the program's last line

static int train(const char *const *more, const char *algo) {
    const struct run_opts o = algo ? ppo_run() : device_run("cuda", more, 1);
    struct cli cli = {.command = "train",
                      .algo = algo,
                      .task = o.task,
                      .preset = algo ? NULL : o.preset,
                      .device = "cuda",
                      .threads = 1,
                      .updates = 1,
                      .headless = true,
                      .no_session = true,
                      .n_settings = o.n_settings};
    for (int i = 0; i < o.n_settings; i++) cli.settings[i] = o.settings[i];
    return cmd_train(&cli);
}

// The exit code of a program whose GPU has so many blocks of memory; what it prints to stderr.
static int with_memory(int64_t left, const char *const *more, const char *algo, char *text,
                       size_t size) {
    int err[2], status;
    size_t n = 0;
    assert_int_equal(pipe(err), 0);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(err[1], 2);
        close(1);
        memory_left(left);
        _exit(train(more, algo));
    }
    close(err[1]);
    for (ssize_t k; n + 1 < size && (k = read(err[0], text + n, size - 1 - n)) > 0;) n += (size_t)k;
    text[n] = 0;
    close(err[0]);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// More each time: the memory ends in what is made first, in between, last.
static void too_little_is_one_line_and_exit_code_1(void **state) {
    (void)state;
    table_of_runs();
    for (int k = 0; k < 2; k++) {
        int n_failed = 0, code = -1;
        for (int64_t left = 0; code != STATUS_OK; left += 1 + left / 2) {
            static char text[1 << 14];
            code = with_memory(left, DREAMER, k ? "ppo" : NULL, text, sizeof text);
            if (code == STATUS_OK) continue;
            const char *line = strstr(text, "workbench: ");
            if (code != STATUS_FAILED || !line || !strstr(line, "out of memory") ||
                strstr(text, "internal error") || strchr(line, '\n') != text + strlen(text) - 1)
                fail_msg("%lld blocks, exit code %d: %s", (long long)left, code, text);
            n_failed++;
        }
        assert_true(n_failed >= 5);
    }
}

int main(void) {
    if (!parity_on_harness()) return parity_skip_all("a GPU's memory is not filled for a test");
    parity_for_runs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_little_is_one_line_and_exit_code_1),
        cmocka_unit_test(memory_that_ends_anywhere_is_given_back_and_the_run_can_begin_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
