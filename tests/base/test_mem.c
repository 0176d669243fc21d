// Memory: zeroed blocks, aligned slabs of every size class, one line where there is none left.
#include "support/test.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/mem.h"

static void blocks_and_slabs_are_zeroed(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 63, 4096, (1 << 20) - 1, 1 << 20, (2 << 20) + 17, 5 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t *a = mem_alloc(sizes[i]), *b = mem_slab_alloc(sizes[i]);
        assert_non_null(a);
        assert_int_equal((uintptr_t)b % 64, 0);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(a[k] | b[k], 0);
        if (sizes[i]) memset(b, 0xff, sizes[i]); // all of it is ours: the sanitizer watches
        free(a);
        mem_slab_free(b, sizes[i]);
    }
    mem_slab_free(NULL, 100);
}

static void a_slab_that_comes_again_is_zeroed_again(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        uint8_t *p = mem_slab_alloc(10000);
        for (int k = 0; k < 10000; k++) assert_int_equal(p[k], 0);
        memset(p, 0xaa, 10000);
        mem_slab_free(p, 10000);
    }
}

static void resizing_keeps_the_content(void **state) {
    (void)state;
    char *p = mem_strdup("hello");
    p = mem_resize(p, 100000);
    assert_string_equal(p, "hello");
    p = mem_resize(p, 0);
    free(p);
    p = mem_resize(NULL, 8);
    free(p);
}

static void running_out_of_memory_is_one_line_and_exit_code_1(void **state) {
    (void)state;
    if (SANITIZED) skip(); // sanitizers stop such a request themselves
    int err[2];
    assert_int_equal(pipe(err), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(err[1], 2);
        free(mem_alloc((size_t)1 << 62));
        _exit(0);
    }
    close(err[1]);
    char text[300] = {0};
    int status;
    size_t n = 0;  // stderr is unbuffered: the line comes in pieces
    for (ssize_t got; (got = read(err[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
    waitpid(child, &status, 0);
    close(err[0]);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_FAILED);
    assert_non_null(strstr(text, "out of memory, 4611686018427.4 MB more were asked for"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); // one line
    assert_null(strstr(text, "internal error"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_and_slabs_are_zeroed),
        cmocka_unit_test(a_slab_that_comes_again_is_zeroed_again),
        cmocka_unit_test(resizing_keeps_the_content),
        cmocka_unit_test(running_out_of_memory_is_one_line_and_exit_code_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
