// Checkpoints of a run whose machines and replay are on a device: it goes on as if it had not
// stopped, there or on the CPU.
#include "gpu/device_run.h"

#include <dirent.h>

static const char *const SMALL[] = {"algo.per_rank_batch_size=1", "algo.per_rank_sequence_length=2",
                                    "metric.log_every=1", NULL};

static const char *const OFFICIAL[] = {"algo.per_rank_batch_size=1",
                                       "algo.per_rank_sequence_length=2", "metric.log_every=1",
                                       "algo.profile=official", NULL};
static const char *mode; // of a new run; NULL: full
static const char *const *more = SMALL;

static void go(const char *device, const char *root, const char *resume, int64_t updates,
               char session[200]) {
    struct run_opts o = device_run(device, more, updates);
    o.mode = resume ? NULL : mode;
    o.no_session = false;
    o.sessions_dir = root;
    o.resume = resume;
    if (resume) {
        o.task = o.preset = NULL;
        o.n_settings = 0;
    }
    run_well(&o, session);
}

// The file of `folder` whose name begins so; the last in the alphabet.
static void newest(const char *session, const char *folder, const char *begin,
                   char out[PATH_SIZE]) {
    char path[PATH_SIZE], best[256] = "";
    snprintf(path, sizeof path, "%s/%s", session, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        if (strncmp(d->d_name, begin, strlen(begin)) == 0 && strcmp(d->d_name, best) > 0)
            snprintf(best, sizeof best, "%s", d->d_name);
    closedir(dir);
    assert_true(best[0] != 0);
    snprintf(out, PATH_SIZE, "%s/%s", folder, best);
}

static void stop_and_go_on(void) {
    char root[PATH_SIZE], whole[200], parts[200], name[PATH_SIZE];
    snprintf(root, sizeof root, "%s", test_folder());
    go("cuda", root, NULL, 4, whole);
    snprintf(root, sizeof root, "%s", test_folder());
    go("cuda", root, NULL, 3, parts);
    go("cuda", root, parts, 4, parts);
    assert_same_file(parts, whole, "metrics.jsonl");
    assert_same_file(parts, whole, "checkpoints/step_000000004.safetensors");
    newest(whole, "checkpoints", "step_000000004.tick", name);
    assert_same_file(parts, whole, name);
    go("cpu", root, parts, 5, parts); // reads the ring, and checks every row
}

static void a_resumed_run_gives_the_bytes_of_one_that_did_not_stop(void **state) {
    (void)state;
    stop_and_go_on();
}

static void so_does_one_that_stands_still(void **state) {
    (void)state;
    mode = "standing_still";
    stop_and_go_on();
    mode = NULL;
}

static void so_does_one_of_the_official_profile(void **state) {
    (void)state;
    more = OFFICIAL;
    stop_and_go_on();
    more = SMALL;
}

int main(void) {
    parity_for_runs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resumed_run_gives_the_bytes_of_one_that_did_not_stop),
        cmocka_unit_test(so_does_one_that_stands_still),
        cmocka_unit_test(so_does_one_of_the_official_profile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
