// Files: whole reads, atomic replacement, full disks, folders, paths, and what goes wrong.
#include "support/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const char *in(const char *folder, const char *name) {
    static char path[PATH_SIZE];
    struct error e = {0};
    assert_true(path_join(path, folder, name, &e));
    return path;
}

static int count_files(const char *folder) {
    int n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *d; (d = readdir(dir));)
        n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static void a_file_is_read_whole_and_terminated(void **state) {
    (void)state;
    const char *path = in(test_folder(), "x");
    struct error e = {0};
    uint8_t *data;
    size_t n;
    for (size_t size = 0; size < 300000; size = size * 3 + 1) {
        uint8_t *bytes = malloc(size + 1);
        memset(bytes, 7, size);
        put_file(path, bytes, size);
        assert_true(file_read(path, size, &data, &n, &e));
        assert_int_equal(n, size);
        assert_memory_equal(data, bytes, size);
        assert_int_equal(data[n], 0);
        free(data);
        if (size) assert_false(file_read(path, size - 1, &data, &n, &e));
        free(bytes);
    }
    assert_true(
        file_read("/proc/self/status", 1 << 20, &data, &n, &e)); // its size is not known before
    assert_true(n > 100);
    free(data);
    assert_false(file_read("/proc/self/status", 100, &data, &n, &e));
    assert_null(data);
}

static void what_cannot_be_read_gives_one_line(void **state) {
    (void)state;
    const char *folder = test_folder();
    struct error e = {0};
    uint8_t *data;
    size_t n;
    assert_false(file_read(in(folder, "absent"), 10, &data, &n, &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_non_null(strstr(e.message, "absent: No such file or directory; check the path"));
    assert_false(file_read(folder, 10, &data, &n, &e));
    assert_non_null(strstr(e.message, "give a file, not a folder"));
    assert_int_equal(mkfifo(in(folder, "pipe"), 0600), 0);
    assert_false(file_read(in(folder, "pipe"), 10, &data, &n, &e)); // must not hang
    assert_non_null(strstr(e.message, "not a regular file"));
}

static void a_replaced_file_is_the_old_or_the_new_one(void **state) {
    (void)state;
    const char *folder = test_folder(), *path = in(folder, "x");
    struct error e = {0};
    size_t n;
    assert_true(file_write_atomic(path, "old content", 11, &e));
    struct file_atomic f;
    assert_true(file_atomic_begin(&f, path, &e));
    assert_true(file_atomic_write(&f, "new", 3, &e));
    char *text = get_file(path, &n);
    assert_string_equal(text, "old content"); // not yet
    free(text);
    file_atomic_abort(&f);
    file_atomic_abort(&f);
    assert_int_equal(count_files(folder), 1); // nothing stays behind
    assert_true(file_write_atomic_fast(path, "new", 3, &e));
    text = get_file(path, &n);
    assert_string_equal(text, "new");
    free(text);
    assert_int_equal(count_files(folder), 1);
}

static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void a_full_disk_keeps_the_old_file_and_no_rubbish(void **state) {
    (void)state;
    const char *folder = test_folder(), *path = in(folder, "x");
    struct error e = {0};
    size_t n;
    signal(SIGXFSZ, SIG_IGN);
    assert_true(file_write_atomic(path, "old", 3, &e));
    static char big[10000];
    limit_files(5000);
    bool fine = file_write_atomic(path, big, sizeof big, &e);
    limit_files(RLIM_INFINITY);
    assert_false(fine);
    assert_int_equal(e.status, STATUS_FAILED);
    char *text = get_file(path, &n);
    assert_string_equal(text, "old");
    free(text);
    assert_int_equal(count_files(folder), 1);
    struct file_append f;
    assert_true(file_append_open(&f, "/dev/full", &e));
    assert_false(file_append_write(&f, "line\n", 5, &e));
    assert_string_equal(
        e.message,
        "cannot write /dev/full: No space left on device; free some space or choose another disk");
    assert_true(file_append_close(&f, &e));
}

static void appended_records_are_whole_or_absent(void **state) {
    (void)state;
    const char *path = in(test_folder(), "log");
    struct error e = {0};
    struct file_append f;
    size_t n;
    signal(SIGXFSZ, SIG_IGN);
    put_file(path, "first\n", 6);
    assert_true(file_append_open(&f, path, &e));
    assert_true(file_append_write(&f, "second\n", 7, &e));
    limit_files(20); // room for 7 of the 10 bytes
    bool fine = file_append_write(&f, "0123456789", 10, &e);
    limit_files(RLIM_INFINITY);
    assert_false(fine);
    char *text = get_file(path, &n);
    assert_string_equal(text, "first\nsecond\n");
    free(text);
    assert_true(file_append_write(&f, "third\n", 6, &e)); // goes on when there is space again
    assert_true(file_append_close(&f, &e));
    assert_true(file_append_close(&f, &e));
    text = get_file(path, &n);
    assert_string_equal(text, "first\nsecond\nthird\n");
    free(text);
    assert_false(file_append_open(&f, "/no/such/folder/x", &e));
    assert_int_equal(e.status, STATUS_USAGE);
}

static void writing_where_it_is_not_possible_gives_one_line(void **state) {
    (void)state;
    const char *folder = test_folder();
    struct error e = {0};
    assert_false(file_write_atomic("/no/such/folder/x", "x", 1, &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_non_null(strstr(e.message, "/no/such/folder/x: No such file or directory"));
    assert_false(file_write_atomic(folder, "x", 1, &e));
    assert_non_null(strstr(e.message, "Is a directory"));
    assert_false(file_write_atomic("/proc/x", "x", 1, &e));
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_false(file_write_atomic(in(folder, name), "x", 1, &e));
    assert_non_null(strstr(e.message, "choose a shorter name"));
    assert_int_equal(count_files(folder), 0);
}

struct race {
    char path[PATH_SIZE];
    char letter;
};
static void *write_again_and_again(void *arg) {
    struct race *r = arg;
    char text[3000];
    memset(text, r->letter, sizeof text);
    struct error e = {0};
    for (int i = 0; i < 30; i++)
        if (!file_write_atomic_fast(r->path, text, sizeof text, &e)) return arg;
    return NULL;
}

static void two_threads_that_replace_one_file_never_mix(void **state) {
    (void)state;
    const char *folder = test_folder();
    struct race a = {.letter = 'a'}, b = {.letter = 'b'};
    snprintf(a.path, sizeof a.path, "%s", in(folder, "x"));
    snprintf(b.path, sizeof b.path, "%s", in(folder, "x"));
    put_file(a.path, "a", 1);
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, write_again_and_again, &a);
    pthread_create(&threads[1], NULL, write_again_and_again, &b);
    for (int i = 0; i < 100; i++) {
        size_t n;
        char *text = get_file(a.path, &n);
        for (size_t k = 1; k < n; k++) assert_int_equal(text[k], text[0]);
        free(text);
    }
    for (int i = 0; i < 2; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(count_files(folder), 1);
}

static void folders_are_made_with_their_parents(void **state) {
    (void)state;
    const char *folder = test_folder();
    struct error e = {0};
    assert_true(file_make_folders(in(folder, "a/b//c/"), &e));
    assert_true(file_is_folder(in(folder, "a/b/c")));
    assert_true(file_make_folders(in(folder, "a/b/c"), &e));
    put_file(in(folder, "file"), "x", 1);
    assert_false(file_make_folders(in(folder, "file/x"), &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_non_null(strstr(e.message, "Not a directory"));
    assert_false(file_make_folders("", &e));
    assert_true(file_make_folders("/", &e));
    assert_true(file_exists(in(folder, "file")));
    assert_false(file_is_folder(in(folder, "file")));
    assert_false(file_exists(in(folder, "absent")));
}

static void paths_are_joined_with_one_slash(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a//", "/b", "a/b"},     {"/", "b", "/b"},
        {"", "b", "b"},    {"a", "", "a/"},    {"a/b", "c/d", "a/b/c/d"}};
    struct error e = {0};
    char out[PATH_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(path_join(out, cases[i][0], cases[i][1], &e));
        assert_string_equal(out, cases[i][2]);
    }
    assert_true(path_join(out, "start", "x", &e) && path_join(out, out, "y", &e)); // in place
    assert_string_equal(out, "start/x/y");
    char big[PATH_SIZE];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_false(path_join(out, big, "y", &e));
    assert_false(path_join(out, "y", big, &e));
    assert_string_equal(path_base("a/b.c"), "b.c");
    assert_string_equal(path_base("b"), "b");
    assert_string_equal(path_base("a/"), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_whole_and_terminated),
        cmocka_unit_test(what_cannot_be_read_gives_one_line),
        cmocka_unit_test(a_replaced_file_is_the_old_or_the_new_one),
        cmocka_unit_test(a_full_disk_keeps_the_old_file_and_no_rubbish),
        cmocka_unit_test(appended_records_are_whole_or_absent),
        cmocka_unit_test(writing_where_it_is_not_possible_gives_one_line),
        cmocka_unit_test(two_threads_that_replace_one_file_never_mix),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(paths_are_joined_with_one_slash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
