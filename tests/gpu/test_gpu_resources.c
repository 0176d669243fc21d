// What each kernel takes of a chip, as the assembler reported it (BUILD/obj/gpu/*.ptxas), against
// the blocks it is launched with: a launch that a chip refuses, or that leaves most of it empty, is
// seen without one. Skipped where the device library was not built.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/test.h"

// The chips' limits (CUDA C++ programming guide, "Compute capabilities", 8.0 and 9.0) and the
// largest chip's multiprocessors.
enum {
    REGISTERS = 65536,
    REGISTER_UNIT = 256, // of a warp
    SHARED_BYTES = 48 << 10,
    ARGUMENT_BYTES = 4096,
    ARGUMENTS_AT = 352, // in the constants, on 8.0
    LANES = 32,
    THREADS_AT_ONCE = 2048,
    PROCESSORS = 132
};
// Memory that the driver sets aside for the stacks of all threads at once.
static const long long STACKS_BYTES = 400ll << 20;

struct use { // of one kernel on one chip
    char kernel[80], chip[16];
    int registers, shared, constants, stack;
};

static struct launch { // as the source has it
    char kernel[80];
    int threads;
    bool alone; // one block
} launches[400];
static int n_launches;

// ---- launches in the source

static int threads_of(const char *words) {
    static const struct {
        const char *words;
        int n;
    } known[] = {{"THREADS", 256}, {"WARP", 32}, {"STEP_BLOCK", 32}, {"COPY_BLOCK", 256}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].words, words) == 0) return known[i].n;
    fail_msg("a launch of %s threads: this test does not know how many these are", words);
    return 0;
}

// Argument by argument; returns what stands behind its comma.
static const char *argument(const char *at, char *out, size_t size) {
    size_t n = 0;
    for (int depth = 0; *at && (depth || (*at != ',' && *at != ')')); at++) {
        depth += (*at == '(') - (*at == ')');
        if (n + 1 < size && *at > ' ' && *at != '\\') out[n++] = *at;
    }
    out[n] = 0;
    return *at ? at + 1 : at;
}

static void read_launches(const char *source) {
    for (const char *at = source; (at = strstr(at, "LAUNCH(")); at++) {
        if (at > source && at[-1] != ' ') continue; // its definition
        char words[4][200];
        const char *next = at + strlen("LAUNCH(");
        for (int i = 0; i < 4; i++) next = argument(next, words[i], sizeof words[i]);
        assert_true(n_launches < (int)(sizeof launches / sizeof *launches));
        struct launch *l = &launches[n_launches++];
        snprintf(l->kernel, sizeof l->kernel, "%.79s", words[1]);
        l->threads = threads_of(words[3]);
        l->alone = strcmp(words[2], "1") == 0;
    }
}

// A name made by a macro stands for all that end like it.
static bool launches_it(const struct launch *l, const char *kernel, bool by_macro) {
    const char *made = strstr(l->kernel, "##");
    if (!made || !by_macro) return !by_macro && strcmp(l->kernel, kernel) == 0;
    const size_t end = strlen(made + 2), all = strlen(kernel);
    return all > end && strcmp(kernel + all - end, made + 2) == 0;
}

// The largest of a kernel's launches: threads 0 where there is none.
static struct launch largest_launch(const char *kernel) {
    struct launch found = {.alone = true};
    for (int by_macro = 0; by_macro < 2 && !found.threads; by_macro++)
        for (int i = 0; i < n_launches; i++) {
            if (!launches_it(&launches[i], kernel, by_macro)) continue;
            if (launches[i].threads > found.threads) found.threads = launches[i].threads;
            found.alone = found.alone && launches[i].alone;
        }
    return found;
}

// ---- the assembler's report

static int number_before(const char *line, const char *words) {
    const char *at = strstr(line, words);
    if (!at) return 0;
    while (at > line && at[-1] == ' ') at--;
    while (at > line && at[-1] >= '0' && at[-1] <= '9') at--;
    return atoi(at);
}

static void plain_name(const char *mangled, char *out, size_t size) {
    char *name = NULL;
    const long n = strncmp(mangled, "_Z", 2) == 0 ? strtol(mangled + 2, &name, 10) : 0;
    snprintf(out, size, "%.*s", n > 0 ? (int)n : 79, n > 0 ? name : mangled);
}

// What is wrong with a kernel; "" where nothing is.
static void judge(const struct use *u, char *why, size_t size) {
    const struct launch l = largest_launch(u->kernel);
    const int threads = l.threads;
    why[0] = 0;
    const int of_warp = (u->registers * LANES + REGISTER_UNIT - 1) / REGISTER_UNIT * REGISTER_UNIT;
    const int of_block = of_warp * (threads / LANES), wanted = l.alone ? 1 : 2;
    const long long stacks = (long long)u->stack * THREADS_AT_ONCE * PROCESSORS;
    if (!threads)
        snprintf(why, size, "is launched nowhere");
    else if (of_block * wanted > REGISTERS)
        snprintf(why, size, "takes %d registers a block of %d threads", of_block, threads);
    else if (u->shared > SHARED_BYTES)
        snprintf(why, size, "takes %d bytes of shared memory", u->shared);
    else if (u->constants > ARGUMENTS_AT + ARGUMENT_BYTES)
        snprintf(why, size, "takes %d bytes of arguments", u->constants - ARGUMENTS_AT);
    else if (stacks > STACKS_BYTES)
        snprintf(why, size, "takes %d bytes of stack a thread, %lld MiB", u->stack, stacks >> 20);
}

struct findings {
    int kernels; // on both chips
    char why[1000];
};

static void note(struct findings *f, const struct use *u, const char *why) {
    const size_t at = strlen(f->why);
    snprintf(f->why + at, sizeof f->why - at, "%s (%s) %s; ", u->kernel, u->chip, why);
}

static void read_report(char *report, struct findings *f) {
    struct use u = {0};
    bool entry = false;
    for (char *line = strtok(report, "\n"); line; line = strtok(NULL, "\n")) {
        char mangled[400], why[200];
        if (strstr(line, "annot be statically determined")) note(f, &u, "has a stack of any size");
        if (sscanf(line, "ptxas info : Compiling entry function '%399[^']' for '%15[^']'", mangled,
                   u.chip) == 2) {
            plain_name(mangled, u.kernel, sizeof u.kernel);
            entry = true;
            f->kernels++;
        }
        if (!entry || !strstr(line, " registers")) continue;
        u.registers = number_before(line, " registers");
        u.shared = number_before(line, " bytes smem");
        u.constants = number_before(line, " bytes cmem[0]");
        u.stack = number_before(line, " bytes cumulative stack size");
        judge(&u, why, sizeof why);
        if (*why) note(f, &u, why);
        entry = false;
    }
}

// ---- files

static char *whole_file(const char *path) {
    FILE *f = fopen(path, "r");
    if (!f) return NULL;
    enum { LARGEST = 1 << 20 };
    char *text = calloc(1, LARGEST);
    assert_non_null(text);
    assert_true(fread(text, 1, LARGEST - 1, f) < LARGEST - 1);
    fclose(f);
    return text;
}

static int each_file(const char *folder, const char *end, void (*with)(char *text, void *ctx),
                     void *ctx) {
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[4096];
        const size_t all = strlen(e->d_name), tail = strlen(end);
        if (all < tail || strcmp(e->d_name + all - tail, end) != 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        char *text = whole_file(path);
        assert_non_null(text);
        with(text, ctx);
        free(text);
        n++;
    }
    if (d) closedir(d);
    return n;
}

static void take_source(char *text, void *ctx) {
    (void)ctx;
    read_launches(text);
}
static void take_report(char *text, void *ctx) { read_report(text, ctx); }

static int read_source(void **state) {
    (void)state;
    n_launches = 0;
    return each_file("src/gpu", ".cu", take_source, NULL) > 20 && n_launches > 100 ? 0 : -1;
}

// ---- tests

static void every_kernel_fits_the_chips_with_the_blocks_it_is_launched_with(void **state) {
    (void)state;
    char folder[4096];
    const char *build = getenv("WORKBENCH_BUILD");
    snprintf(folder, sizeof folder, "%s/obj/gpu", build ? build : "build");
    struct findings f = {0};
    if (each_file(folder, ".ptxas", take_report, &f) == 0) skip();
    if (*f.why) fail_msg("%s", f.why);
    assert_in_range(f.kernels, 200, 2000);
}

static void expect(const char *kernel, const char *used, const char *what) {
    char report[1000];
    struct findings f = {0};
    snprintf(report, sizeof report,
             "ptxas info    : 0 bytes gmem\n"
             "ptxas info    : Compiling entry function '_Z%d%s3bufIKfE' for 'sm_80'\n"
             "ptxas info    : Function properties for x\n"
             "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
             "%s\n",
             (int)strlen(kernel), kernel, used);
    read_report(report, &f);
    if (strncmp(f.why, kernel, *what ? strlen(kernel) : 0) != 0 || !strstr(f.why, what) ||
        !*what != !*f.why)
        fail_msg("\"%s\" does not say that %s %s", f.why, kernel, what);
}

static void what_does_not_fit_is_named(void **state) {
    (void)state;
    const char *all = "ptxas info    : Used 255 registers, used 0 barriers, 360 bytes cmem[0]";
    expect("sum_slices_kernel", "ptxas info    : Used 40 registers, used 1 barriers", "");
    expect("sum_slices_kernel", all, "65536 registers");
    expect("take_kernel", all, ""); // one block
    expect("step_kernel", all, ""); // of a warp
    expect("tanh_kernel", all, "65536 registers");
    expect("sum_slices_kernel", "ptxas info    : Used 40 registers, 49153 bytes smem", "shared");
    expect("sum_slices_kernel", "ptxas info    : Used 40 registers, 5000 bytes cmem[0]",
           "4648 bytes of arguments");
    expect("step_kernel", "ptxas info    : Used 40 registers, 2120 bytes cumulative stack size",
           "546 MiB");
    expect("stray", all, "nowhere");
    expect("tanh_kernel",
           "ptxas warning : Stack size for entry function 'x' cannot be statically determined",
           "any size");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_fits_the_chips_with_the_blocks_it_is_launched_with),
        cmocka_unit_test(what_does_not_fit_is_named),
    };
    return cmocka_run_group_tests(tests, read_source, NULL);
}
