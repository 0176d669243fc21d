// Tests of goal templates: round trips, every disagreement refused with both values, damaged files.
#include "goal_fixture.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "engine/data/npy.h"

static char npy_path[PATH_SIZE + 40], meta_path[PATH_SIZE + 40];

static const char *written(const struct goal_template *t) {
    const char *folder = test_folder();
    struct error e = {0};
    snprintf(npy_path, sizeof npy_path, "%s/goal_template.npy", folder);
    snprintf(meta_path, sizeof meta_path, "%s/goal_template.meta.json", folder);
    if (!goal_write(folder, t, 0, &e)) fail_msg("%s", e.message);
    return folder;
}

static void assert_refused(const char *folder, const struct goal_expect *expect,
                           const char *const words[4]) {
    struct goal_template *t = malloc(sizeof *t);
    struct error e = {0};
    memset(t, 0x5a, sizeof *t);
    assert_false(goal_load(folder, expect, t, &e));
    assert_null(strchr(e.message, '\n'));
    for (int i = 0; i < 4 && words[i]; i++)
        if (!strstr(e.message, words[i])) fail_msg("\"%s\" is missing in: %s", words[i], e.message);
    for (size_t i = 0; i < sizeof *t; i++) assert_int_equal(((uint8_t *)t)[i], 0x5a); // untouched
    assert_false(goal_load(folder, expect, t, NULL));
    free(t);
}

// Replaces the first `from` in the meta file.
static void alter_meta(const char *from, const char *to) {
    uint8_t *text;
    size_t n;
    assert_true(file_read(meta_path, 1 << 16, &text, &n, NULL));
    char *at = strstr((char *)text, from), out[8000];
    if (!at) fail_msg("no %s in the meta file", from);
    *at = 0;
    int size = snprintf(out, sizeof out, "%s%s%s", (char *)text, to, at + strlen(from));
    free(text);
    put_file(meta_path, out, (size_t)size);
}

static void what_is_written_loads_back_the_same(void **state) {
    (void)state;
    for (int n_frames = 1; n_frames <= GOAL_MAX_STACK; n_frames += 3) {
        struct goal_template *t = fixture_template(n_frames), *back = calloc(1, sizeof *back);
        struct error e = {0};
        const char *folder = written(t);
        struct goal_expect all = {.action_codec_id = "pokemonred_puffer_v1",
                                  .rom_sha256 = fixture_rom_sha,
                                  .state_sha256 = fixture_state_sha};
        if (!goal_load(folder, &all, back, &e)) fail_msg("%s", e.message);
        assert_memory_equal(&back->meta, &t->meta, sizeof t->meta);
        assert_memory_equal(&back->goal, &t->goal, sizeof t->goal);
        size_t n;
        void *npy = get_file(npy_path, &n);
        char hex[SHA256_HEX_SIZE];
        sha256_hex(npy, n, hex);
        assert_string_equal(back->sha256, hex);
        assert_int_equal(n, 128 + 5760 * n_frames);
        free(npy);
        free(t);
        free(back);
    }
}

// spec/ppo.md 6, template_roundtrip.
static void what_was_loaded_is_written_again_to_the_byte(void **state) {
    (void)state;
    for (int n_frames = 1; n_frames <= GOAL_MAX_STACK; n_frames += 3) {
        struct goal_template *t = fixture_template(n_frames), *back = calloc(1, sizeof *back);
        struct error e = {0};
        size_t n[4];
        void *file[4];
        if (!goal_load(written(t), &(struct goal_expect){0}, back, &e)) fail_msg("%s", e.message);
        file[0] = get_file(npy_path, &n[0]), file[1] = get_file(meta_path, &n[1]);
        written(back);
        file[2] = get_file(npy_path, &n[2]), file[3] = get_file(meta_path, &n[3]);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(n[i], n[i + 2]);
            assert_memory_equal(file[i], file[i + 2], n[i]);
        }
        for (int i = 0; i < 4; i++) free(file[i]);
        free(t);
        free(back);
    }
}

// spec/ppo.md 6, shipped_template: NumPy's header, 5,888 bytes, shape (72, 80).
static void the_file_of_one_frame_is_made_like_the_public_templates(void **state) {
    (void)state;
    static const char dict[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (72, 80), }";
    struct goal_template *t = fixture_template(1);
    uint8_t header[128] = "\x93NUMPY\x01\x00\x76\x00";
    struct npy_u8 a;
    struct error e = {0};
    size_t n;
    memset(header + 10, ' ', 117);
    memcpy(header + 10, dict, strlen(dict));
    header[127] = '\n';
    written(t);
    uint8_t *file = get_file(npy_path, &n);
    assert_int_equal(n, 5888);
    assert_memory_equal(file, header, 128);
    assert_true(npy_parse(file, n, npy_path, &a, &e));
    assert_true(a.n_dims == 2 && a.shape[0] == 72 && a.shape[1] == 80);
    for (size_t i = 0; i < 5760; i++)
        assert_int_equal(file[128 + i], t->goal.packed[0][i / 4] >> i % 4 * 2 & 3);
    free(file);
    free(t);
}

static void the_meta_file_holds_the_nineteen_fields_in_order(void **state) {
    (void)state;
    static const char *const keys[] = {"action_codec_id",
                                       "actions_path",
                                       "actions_sha256",
                                       "created_at",
                                       "dist_metric",
                                       "downsample_h",
                                       "downsample_w",
                                       "frames_per_step",
                                       "k_consecutive",
                                       "pipeline_version",
                                       "release_after_frames",
                                       "rom_path",
                                       "rom_sha256",
                                       "schema_version",
                                       "shade_levels",
                                       "stack_k",
                                       "state_path",
                                       "state_sha256",
                                       "tau"};
    struct goal_template *t = fixture_template(1);
    struct error e = {0};
    written(t);
    cJSON *root = json_read_file(meta_path, 1 << 16, &e);
    if (!root) fail_msg("%s", e.message);
    assert_int_equal(cJSON_GetArraySize(root), 19);
    int i = 0;
    for (const cJSON *m = root->child; m; m = m->next) assert_string_equal(m->string, keys[i++]);
    assert_true(cJSON_GetObjectItem(root, "tau")->valuedouble == 0.05);
    cJSON_Delete(root);
    free(t);
    size_t n;
    char *text = get_file(meta_path, &n);
    assert_memory_equal(text, "{\n  \"action_codec_id\": \"pokemonred_puffer_v1\",\n", 47);
    free(text);
}

static void a_file_of_pixels_says_row_by_row_what_the_screen_shows(void **state) {
    (void)state;
    struct goal_template *t = fixture_template(1);
    memset(t->goal.packed, 0, sizeof t->goal.packed);
    t->goal.packed[0][0] = 0xe4;    // 0 1 2 3 at the top left
    t->goal.packed[0][20] = 0x03;   // 3 at the left of the second row
    t->goal.packed[0][1439] = 0x80; // 2 at the bottom right
    written(t);
    size_t n;
    uint8_t *npy = get_file(npy_path, &n), *pixels = npy + 128;
    for (int i = 0; i < 5760; i++)
        assert_int_equal(pixels[i], i < 4 ? i : i == 80 ? 3 : i == 5759 ? 2 : 0);
    free(npy);
    free(t);
}

static void a_template_is_not_replaced_unless_forced(void **state) {
    (void)state;
    struct goal_template *t = fixture_template(1), *back = calloc(1, sizeof *back);
    struct error e = {0};
    const char *folder = written(t);
    fixture_frame(t->goal.packed[0], 9);
    assert_false(goal_write(folder, t, 0, &e));
    assert_non_null(strstr(e.message, folder));
    assert_true(goal_write(folder, t, GOAL_REPLACE, &e));
    assert_true(goal_load(folder, &(struct goal_expect){0}, back, &e));
    assert_memory_equal(&back->goal, &t->goal, sizeof t->goal);
    free(t);
    free(back);
}

// ---- killed while it writes

static bool writes(const char *folder, uint32_t number) {
    struct goal_template *t = fixture_template(1);
    fixture_frame(t->goal.packed[0], number);
    t->meta.tau = 0.1 + 0.01 * number;
    const bool fine = goal_write(folder, t, GOAL_REPLACE | GOAL_PICTURE, NULL);
    free(t);
    return fine;
}

// The number of the template that loads, whole.
static uint32_t number_of(const char *folder) {
    struct goal_template *t = calloc(1, sizeof *t);
    struct error e = {0};
    uint8_t frame[ENV_OBS_BYTES];
    if (!goal_load(folder, &(struct goal_expect){0}, t, &e)) fail_msg("%s", e.message);
    const uint32_t number = (uint32_t)lround((t->meta.tau - 0.1) * 100);
    fixture_frame(frame, number);
    assert_memory_equal(frame, t->goal.packed[0], sizeof frame);
    free(t);
    return number;
}

static void move_file(const char *from, const char *a, const char *to, const char *b) {
    char source[PATH_SIZE], target[PATH_SIZE];
    assert_true(path_join(source, from, a, NULL) && path_join(target, to, b, NULL));
    assert_int_equal(rename(source, target), 0);
}

// The folder after each step of a replacement, as the header says what counts.
static void a_replacement_that_stops_after_any_step_leaves_one_template_whole(void **state) {
    (void)state;
    static const char *const files[] = {"goal_template.png", "goal_template.npy",
                                        "goal_template.meta.json"};
    for (int steps = 0; steps <= 6; steps++) {
        char folder[PATH_SIZE], made[PATH_SIZE], next[64];
        snprintf(folder, sizeof folder, "%s", test_folder());
        snprintf(made, sizeof made, "%s", test_folder());
        assert_true(writes(folder, 1) && writes(made, 2));
        for (int i = 0; i < steps; i++) {
            const char *file = files[i % 3];
            snprintf(next, sizeof next, "%s.next", file);
            if (i < 3)
                move_file(made, file, folder, next);
            else
                move_file(folder, next, folder, file);
        }
        assert_int_equal(number_of(folder), steps < 3 ? 1 : 2);
        assert_true(writes(folder, 3)); // and it can be written again
        assert_int_equal(number_of(folder), 3);
        for (int i = 0; i < 3; i++) {
            snprintf(next, sizeof next, "%s.next", files[i]);
            assert_true(path_join(made, folder, next, NULL));
            assert_false(file_exists(made));
        }
    }
}

// Writes on and on; says when the first one is whole.
static void write_until_killed(const char *folder, int says) {
    uint32_t k = 1;
    while (writes(folder, 1 + k % 40) && (k > 1 || write(says, "", 1) == 1)) k++;
    _exit(1);
}

static void a_writer_killed_at_any_moment_leaves_one_template_whole(void **state) {
    (void)state;
    enum { ROUNDS = 30 };
    char folder[PATH_SIZE], byte;
    snprintf(folder, sizeof folder, "%s", test_folder());
    const int64_t start = clock_now_ns();
    assert_true(writes(folder, 0));
    const int64_t takes = clock_now_ns() - start;
    for (int round = 0; round < ROUNDS; round++) {
        int fd[2], status;
        assert_int_equal(pipe(fd), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) write_until_killed(folder, fd[1]);
        assert_int_equal(read(fd[0], &byte, 1), 1);
        clock_sleep_ns(takes * round / ROUNDS);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        close(fd[0]);
        close(fd[1]);
        assert_true(number_of(folder) != 0);
        assert_true(writes(folder, 0)); // whatever was left is taken away
    }
}

static void whoever_loads_while_it_is_replaced_gets_one_template_whole(void **state) {
    (void)state;
    enum { LOADS = 3000 };
    const int64_t most_ns = 10000000000;
    char folder[PATH_SIZE], byte;
    int fd[2], status, n_changes = 0;
    snprintf(folder, sizeof folder, "%s", test_folder());
    assert_true(writes(folder, 0));
    assert_int_equal(pipe(fd), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60); // also where a load below fails the test
        write_until_killed(folder, fd[1]);
    }
    assert_int_equal(read(fd[0], &byte, 1), 1);
    uint32_t last = number_of(folder);
    const int64_t start = clock_now_ns();
    for (int i = 0; (i < LOADS || n_changes < 20) && clock_now_ns() - start < most_ns; i++) {
        const uint32_t now = number_of(folder);
        n_changes += now != last;
        last = now;
    }
    assert_true(n_changes > 0);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    close(fd[0]);
    close(fd[1]);
}

static int count_files(const char *folder) {
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (const struct dirent *f; (f = readdir(d));) n += f->d_name[0] != '.';
    closedir(d);
    return n;
}

// A disk that is full: nothing is left behind, and the old template counts.
static void a_write_that_fails_leaves_nothing_behind(void **state) {
    (void)state;
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", test_folder());
    assert_true(writes(folder, 1));
    for (int i = 0; i < 2; i++) {
        struct rlimit limit, small;
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
        small = limit;
        small.rlim_cur = 3000; // the picture fits, the pixels do not
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        const bool fine = writes(folder, 2);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_false(fine);
        assert_int_equal(count_files(folder), 3);
        assert_int_equal(number_of(folder), 1);
    }
}

static void a_template_made_now_says_when(void **state) {
    (void)state;
    struct goal_template *t = fixture_template(1), *back = calloc(1, sizeof *back);
    t->meta.created_at[0] = 0;
    const char *folder = written(t);
    assert_true(goal_load(folder, &(struct goal_expect){0}, back, NULL));
    assert_int_equal(strlen(back->meta.created_at), 20);
    assert_memory_equal(back->meta.created_at, "20", 2);
    free(t);
    free(back);
}

static void a_disagreement_is_refused_with_both_values(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *words[4];
    } cases[] = {
        {"_v1\"", "_v0\"", {"action_codec_id", "pokemonred_puffer_v0", "pokemonred_puffer_v1"}},
        {"pokemonred_puffer_v1",
         "my_codec",
         {"action_codec_id", "my_codec", "pokemonred_puffer_v1", "legacy_v0"}},
        {"\"frames_per_step\": 24", "\"frames_per_step\": 16", {"frames_per_step", "16", "24"}},
        {"\"release_after_frames\": 8",
         "\"release_after_frames\": 4",
         {"release_after_frames", "4", "8"}},
        {"\"downsample_h\": 72", "\"downsample_h\": 144", {"downsample_h", "144", "72"}},
        {"\"downsample_w\": 80", "\"downsample_w\": 160", {"downsample_w", "160", "80"}},
        {"\"shade_levels\": 4", "\"shade_levels\": 2", {"shade_levels", "2", "4"}},
        {"\"schema_version\": 1", "\"schema_version\": 2", {"schema_version", "2", "1"}},
        {"l1_mean_norm", "l2", {"dist_metric", "l2", "l1_mean_norm"}},
        {"\"pipeline_version\": 2",
         "\"pipeline_version\": 1",
         {"pipeline_version", "1", "2", "--accept-pipeline 1"}},
        {"\"pipeline_version\": 2", "\"pipeline_version\": 3", {"pipeline_version", "3", "2"}},
        {"\"rom_sha256\": \"0011",
         "\"rom_sha256\": \"1011",
         {"rom_sha256", "10112233", "00112233"}},
        {"\"state_sha256\": \"ff",
         "\"state_sha256\": \"00",
         {"state_sha256", "00eeddcc", "ffeeddcc"}},
        {"\"state_sha256\": \"ff", "\"state_sha256\": \"FF", {"state_sha256", "64 hex"}},
        {"\"tau\": 0.05", "\"tau\": 0", {"tau", "0"}},
        {"\"tau\": 0.05", "\"tau\": 1.5", {"tau", "1.5"}},
        {"\"tau\": 0.05", "\"tau\": \"NaN\"", {"tau"}},
        {"\"tau\": 0.05", "\"tau\": null", {"tau"}},
        {"\"k_consecutive\": 2", "\"k_consecutive\": 0", {"k_consecutive", "0"}},
        {"\"k_consecutive\": 2", "\"k_consecutive\": 2.5", {"k_consecutive"}},
        {"\"stack_k\": 1", "\"stack_k\": 9", {"stack_k", "9", "8"}},
        {"\"created_at\"", "\"created\"", {"created_at", "missing"}},
    };
    struct goal_expect all = {.action_codec_id = "pokemonred_puffer_v1",
                              .rom_sha256 = fixture_rom_sha,
                              .state_sha256 = fixture_state_sha};
    struct goal_template *t = fixture_template(1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = written(t);
        alter_meta(cases[i].from, cases[i].to);
        assert_refused(folder, &all, cases[i].words);
    }
    free(t);
}

static void what_is_not_asked_for_is_not_compared(void **state) {
    (void)state;
    struct goal_template *t = fixture_template(1), *back = calloc(1, sizeof *back);
    const char *folder = written(t);
    struct goal_expect none = {0};
    assert_true(goal_load(folder, &none, back, NULL));
    alter_meta("\"pipeline_version\": 2", "\"pipeline_version\": 1");
    none.accept_pipeline = 1;
    assert_true(goal_load(folder, &none, back, NULL));
    assert_int_equal(back->meta.pipeline_version, 1);
    // A picture of a state alone: that state is the goal's, not the start.
    alter_meta("actions.txt", "state_only");
    alter_meta(fixture_actions_sha, "");
    struct goal_expect other_state = {.state_sha256 = fixture_rom_sha, .accept_pipeline = 1};
    struct error e = {0};
    if (!goal_load(folder, &other_state, back, &e)) fail_msg("%s", e.message);
    free(t);
    free(back);
}

static void a_template_of_a_states_picture_fits_any_start_of_that_rom(void **state) {
    (void)state;
    uint8_t obs[ENV_OBS_BYTES];
    struct goal_template *t = malloc(sizeof *t), *back = calloc(1, sizeof *back);
    fixture_frame(obs, 5);
    struct goal_source source = {.action_codec_id = "pokemonred_puffer_v0",
                                 .rom_path = "red.gb",
                                 .rom_sha256 = fixture_rom_sha,
                                 .state_path = "red.1.state",
                                 .state_sha256 = fixture_state_sha};
    struct goal goal = {.n_frames = 1};
    memcpy(goal.packed[0], obs, sizeof obs);
    goal_make(&source, &goal, t);
    const char *folder = written(t);
    struct goal_expect expect = {.action_codec_id = "pokemonred_puffer_v0",
                                 .rom_sha256 = fixture_rom_sha,
                                 .state_sha256 = fixture_actions_sha};
    struct error e = {0};
    if (!goal_load(folder, &expect, back, &e)) fail_msg("%s", e.message);
    assert_memory_equal(back->goal.packed[0], obs, sizeof obs);
    assert_string_equal(back->meta.actions_path, "state_only");
    assert_string_equal(back->meta.state_path, "red.1.state");
    assert_true(back->meta.tau == 0.05);
    expect.action_codec_id = "pokemonred_puffer_v1";
    assert_refused(folder, &expect, (const char *const[4]){"puffer_v0", "puffer_v1"});
    free(t);
    free(back);
}

static void a_picture_of_another_size_or_shade_is_refused(void **state) {
    (void)state;
    struct goal_template *t = fixture_template(1);
    const char *folder = written(t);
    static uint8_t bytes[128 + 4 * 5760];
    static const struct {
        size_t shape[4];
        int n_dims;
        const char *words[4];
    } cases[] = {{{80, 72}, 2, {"80x72", "72x80"}},
                 {{144, 160}, 2, {"144x160", "72x80"}},
                 {{5760}, 1, {"5760", "72x80"}},
                 {{4, 72, 80}, 3, {"4 frames", "stack_k", "1"}},
                 {{1, 1, 72, 80}, 4, {"1x1x72x80", "72x80"}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 1;
        for (int d = 0; d < cases[i].n_dims; d++) n *= cases[i].shape[d];
        memset(bytes, 0, sizeof bytes);
        assert_true(npy_header(cases[i].shape, cases[i].n_dims, bytes));
        put_file(npy_path, bytes, 128 + n);
        assert_refused(folder, &(struct goal_expect){0}, cases[i].words);
    }
    assert_true(npy_header((const size_t[2]){72, 80}, 2, bytes));
    bytes[128 + 4321] = 4;
    put_file(npy_path, bytes, 128 + 5760);
    assert_refused(folder, &(struct goal_expect){0},
                   (const char *const[4]){"pixel 4321 is 4", "0 to 3"});
    unlink(npy_path);
    assert_refused(folder, &(struct goal_expect){0}, (const char *const[4]){"goal_template.npy"});
    free(t);
}

static void every_cut_is_refused_and_every_flip_survived(void **state) {
    (void)state;
    struct goal_template *t = fixture_template(1), *back = calloc(1, sizeof *back);
    const char *folder = written(t);
    size_t n_npy, n_meta;
    uint8_t *npy = get_file(npy_path, &n_npy);
    char *meta = get_file(meta_path, &n_meta);
    struct goal_expect none = {0};
    assert_true(goal_parse(npy, n_npy, meta, n_meta, folder, &none, back, NULL));
    for (size_t cut = 0; cut < n_npy; cut++)
        assert_false(goal_parse(npy, cut, meta, n_meta, folder, &none, back, NULL));
    for (size_t cut = 0; cut + 1 < n_meta; cut++) { // without its last newline it is whole
        char *exact = malloc(cut + 1);
        memcpy(exact, meta, cut);
        exact[cut] = 0;
        assert_false(goal_parse(npy, n_npy, exact, cut, folder, &none, back, NULL));
        free(exact);
    }
    for (size_t bit = 0; bit < 8 * n_meta; bit++) {
        meta[bit / 8] = (char)(meta[bit / 8] ^ 1 << bit % 8);
        struct error e = {0};
        bool fine = goal_parse(npy, n_npy, meta, n_meta, folder, &none, back, &e);
        if (!fine) assert_true(e.message[0] && !strchr(e.message, '\n'));
        meta[bit / 8] = (char)(meta[bit / 8] ^ 1 << bit % 8);
    }
    int n_refused = 0;
    for (size_t bit = 0; bit < 8 * n_npy; bit++) {
        npy[bit / 8] = (uint8_t)(npy[bit / 8] ^ 1u << bit % 8);
        if (bit % 8 > 1 || bit / 8 < 128)
            n_refused += !goal_parse(npy, n_npy, meta, n_meta, folder, &none, back, NULL);
        npy[bit / 8] = (uint8_t)(npy[bit / 8] ^ 1u << bit % 8);
    }
    assert_in_range(n_refused, 6 * 5760,
                    8 * 128 + 6 * 5760); // a shade has two bits, the six above must be 0
    free(npy);
    free(meta);
    free(t);
    free(back);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_loads_back_the_same),
        cmocka_unit_test(what_was_loaded_is_written_again_to_the_byte),
        cmocka_unit_test(the_file_of_one_frame_is_made_like_the_public_templates),
        cmocka_unit_test(the_meta_file_holds_the_nineteen_fields_in_order),
        cmocka_unit_test(a_file_of_pixels_says_row_by_row_what_the_screen_shows),
        cmocka_unit_test(a_template_is_not_replaced_unless_forced),
        cmocka_unit_test(a_replacement_that_stops_after_any_step_leaves_one_template_whole),
        cmocka_unit_test(a_writer_killed_at_any_moment_leaves_one_template_whole),
        cmocka_unit_test(whoever_loads_while_it_is_replaced_gets_one_template_whole),
        cmocka_unit_test(a_write_that_fails_leaves_nothing_behind),
        cmocka_unit_test(a_template_made_now_says_when),
        cmocka_unit_test(a_disagreement_is_refused_with_both_values),
        cmocka_unit_test(what_is_not_asked_for_is_not_compared),
        cmocka_unit_test(a_template_of_a_states_picture_fits_any_start_of_that_rom),
        cmocka_unit_test(a_picture_of_another_size_or_shade_is_refused),
        cmocka_unit_test(every_cut_is_refused_and_every_flip_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
