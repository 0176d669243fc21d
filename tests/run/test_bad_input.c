// The program against bad input, as a user gives it: one clear line, the right exit code, nothing
// left behind.
#define _GNU_SOURCE
#include <dirent.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "support/test.h"

enum { OUTPUT_SIZE = 16384 };

static char folder[PATH_SIZE];

// Runs a shell command; its output (both streams) in `out`. Returns the exit code, -1 for a signal.
static int shell(char out[OUTPUT_SIZE], const char *format, const char *arguments) {
    char command[8192];
    const char *build = getenv("WORKBENCH_BUILD");
    setenv("W", build ? build : "build", 1);
    setenv("T", folder, 1);
    snprintf(command, sizeof command, format, arguments);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, OUTPUT_SIZE - 1, p);
    out[n] = 0;
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct bad {
    const char *arguments;
    int exit_code;
    const char *says; // part of the one line
};

static const struct bad table[] = {
    {"--nonsense", 2, "--nonsense"},
    {"dance", 2, "dance"},
    {"train --updates", 2, "--updates needs a value"},
    {"train --updates none", 2, "whole number"},
    {"train --minutes -1", 2, "--minutes"},
    {"train --headless --rom $T/missing.gb", 2, "missing.gb"},
    {"train --headless --rom $T", 2, "folder"},
    {"train --headless --rom $T/empty.gb", 1, "empty.gb"},
    {"train --headless --rom $T/short.gb", 1, "short.gb"},
    {"train --headless --rom $T/cut.gb", 1, "cut.gb"},
    {"train --headless --rom $T/mapper.gb", 1, "MBC7"},
    {"train --headless --state $T/missing.state", 2, "missing.state"},
    {"train --headless --state $T/empty.gb", 1, "no saved state"},
    {"train --headless --task tetris", 2, "tetris"},
    {"train --headless --preset gigantic", 2, "gigantic"},
    {"train --headless --mode partial", 2, "--mode partial"},
    {"train --headless --goal-dir $T", 2, "--rom FILE --state FILE"},
    {"train --headless --rom $T/mapper.gb --goal-dir $T", 2, "--rom FILE --state FILE"},
    {"train --headless --accept-pipeline 1", 2, "--goal-dir"},
    {"train --headless --task exit_lab --state $T/empty.gb", 2, "--state goes with --rom"},
    {"train --headless --rom $T/mapper.gb --state $T/empty.gb --goal-dir $T/nowhere", 2,
     "goal_template.meta.json"},
    {"train --headless --device cuda", 1, "cuda"},
    {"train --headless --window", 2, "leave it or --window out"},
    {"--headless --script $T/keys --updates 1", 2, "leave it or --script out"},
    {"train --headless --threads 100000", 2, "--threads 100000: at most"},
    {"train --headless --threads 4294967297", 2, "--threads 4294967297: at most"},
    {"--headless --gate cpu --threads 65", 2, "--threads 65: at most"},
    {"--headless --gate cpu --threads 4294967297", 2, "--threads 4294967297: at most"},
    {"train --headless --preset huge", 2, "unknown preset 'huge' (known: micro"},
    {"train --headless --preset tinny", 2, "did you mean tiny?"},
    {"train --ranks mpi", 1, "mpirun -n N"},
    {"train --ranks all", 2, "known: off, mpi"},
    {"--headless --gate cpu --ranks mpi", 2, "a gate is one process"},
    {"train --headless --seed x", 2, "seed"},
    {"train --headless algo.unimx=0.1", 2, "algo.unimix"},
    {"train --headless algo.unimix=2", 2, "algo.unimix"},
    {"train --headless algo.unimix=", 2, "algo.unimix"},
    {"train --headless env.constant_action=NOOP env.action_codec=v0", 2, "NOOP"},
    {"train --headless --sessions $T/empty.gb/x", 2, "empty.gb"},
    {"train --headless --sessions /proc/nowhere", 2, "/proc/nowhere"},
    {"train --headless --resume x", 2, "--resume"},
    {"--gate tpu", 2, "tpu"},
    {"--gate gpu", 3, "skipped: no CUDA device"},
    {"--gate cpu --out $T/nowhere/gate.json", 2, "nowhere/gate.json"},
    {"--gate gpu --json | tr -d '\\n\\t'; echo", 0, "\"verdict\":\"skipped\""},
    {"--gate cpu --updates 3", 2, "train --gate: --updates does nothing there"},
    {"--headless --out $T/x.json", 2, "--out does nothing without --gate"},
    {"--headless --golden $T", 2, "--golden does nothing without --gate"},
    {"bench", 2, "emu|env|replay|engine|train"},
    {"bench everything", 2, "bench everything: say what to measure"},
    {"bench env --threads 1000", 2, "--threads 1000: at most 64"},
    {"bench env --envs 65537", 2, "--envs 65537: at most 65536"},
    {"bench env --task nowhere", 2, "--task nowhere: no such task"},
    {"bench env --task toy --rom $T/x.gb", 2, "--rom and --task exclude each other"},
    {"bench engine --profile", 2, "bench engine: --profile does nothing there"},
    {"bench engine --preset nano", 2, "nano"},
    {"bench replay --task toy", 2, "bench replay: --task does nothing there"},
    {"bench replay --envs 4097", 2, "rows has room for 4096"},
    {"bench replay --threads 1000", 2, "--threads 1000"},
    {"bench replay --envs 2 env.num_envs=2", 2, "give one"},
    {"bench replay algo.per_rank_batch_size=0", 2, "per_rank_batch_size"},
    {"bench env --draw all", 2, "bench env: --draw does nothing there"},
    {"bench env algo.horizon=3", 2, "begin with env. alone"},
    {"bench env --envs 2 env.num_envs=2", 2, "give one"},
    {"bench emu env.num_envs=2", 2, "bench emu: env.num_envs=2: keys of a run are not set"},
    {"bench emu --threads 1000", 2, "--threads 1000: at most 64"},
    {"bench emu --envs 2000000000", 2, "--envs"},
    {"bench train --threads 1000", 2, "--threads 1000: at most 64"},
    {"bench train --updates 3000000000", 2, "--updates"},
    {"bench emu --draw some", 2, "--draw some"},
    {"bench train --preset nano", 2, "nano"},
    {"eval", 2, "workbench eval SESSION"},
    {"eval $T/nowhere", 2, "nowhere"},
    {"eval $T/empty.gb", 2, "checkpoints/"},
    {"eval $T", 2, "meta.json"},
    {"eval $T --policy best", 2, "--policy best"},
    {"eval $T --policy sampled --greedy", 2, "--policy sampled --greedy"},
    {"eval $T --seed -1", 2, "--seed -1"},
    {"eval $T algo.horizon=10", 2, "algo.horizon=10"},
    {"eval $T --episodes 0", 2, "--episodes"},
    {"export $T", 2, "--sheeprl"},
    {"export --sheeprl $T", 2, "--out"},
    {"export --sheeprl $T/nowhere --out $T/x", 2, "nowhere"},
    {"export --sheeprl --from-sheeprl $T/empty.gb $T --out $T/x", 2, "--from-sheeprl"},
    {"rom", 2, "info|run|play"},
    {"rom info $T/missing.gb", 2, "missing.gb"},
    {"rom info $T/empty.gb", 1, "empty.gb"},
    {"rom info $T/cut.gb", 1, "cut.gb"},
    {"rom run $T/mapper.gb", 1, "MBC7"},
    {"rom play $T/short.gb", 1, "short.gb"},
    {"state", 2, "info|import|export"},
    {"state info $T/missing.state", 2, "missing.state"},
    {"state info $T/empty.gb", 1, "no saved state"},
    {"state import $T/empty.gb", 2, "--rom"},
    {"sessions", 2, "list"},
    {"sessions show $T/nowhere", 2, "nowhere"},
    {"sessions list --sessions $T/empty.gb", 2, "empty.gb"},
};

static void every_bad_input_gets_one_clear_line_and_its_exit_code(void **state) {
    (void)state;
    char out[OUTPUT_SIZE];
    int n_wrong = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int code = shell(out, "\"$W/workbench\" %s 2>&1 </dev/null", table[i].arguments);
        size_t lines = 0;
        for (const char *c = out; *c; c++) lines += *c == '\n';
        if (code == table[i].exit_code && strstr(out, table[i].says) && lines == 1) continue;
        printf("workbench %s: exit %d (expected %d), says: %s\n", table[i].arguments, code,
               table[i].exit_code, out);
        n_wrong++;
    }
    assert_int_equal(n_wrong, 0);
}

static void nothing_is_left_behind_by_a_refused_run(void **state) {
    (void)state;
    char out[OUTPUT_SIZE];
    assert_int_equal(shell(out, "mkdir -p \"$T/here\" %s", ""), 0);
    const char *build = getenv("WORKBENCH_BUILD");
    char root[PATH_SIZE];
    assert_non_null(realpath(build ? build : "build", root));
    setenv("R", root, 1);
    shell(out, "cd \"$T/here\" && \"$R/workbench\" %s 2>&1", "train --headless --rom ../cut.gb");
    assert_int_equal(shell(out, "test -z \"$(ls -A \"$T/here\")\" %s", ""), 0);
}

static void help_version_and_doctor_work_everywhere(void **state) {
    (void)state;
    char out[OUTPUT_SIZE];
    assert_int_equal(shell(out, "\"$W/workbench\" %s", "--help"), 0);
    assert_non_null(strstr(out, "--updates"));
    assert_int_equal(shell(out, "\"$W/workbench\" %s", "--version"), 0);
    assert_int_equal(shell(out, "env -i \"$W/workbench\" %s", "doctor"), 0);
    assert_non_null(strstr(out, "kernels"));
}

static void doctor_gives_the_rates_it_measured_as_numbers(void **state) {
    (void)state;
    char out[OUTPUT_SIZE];
    struct error e = {0};
    assert_int_equal(shell(out, "\"$W/workbench\" %s", "doctor --json"), 0);
    cJSON *doctor = json_parse(out, strlen(out), "doctor", &e);
    if (!doctor) fail_msg("%s", e.message);
    const cJSON *measured, *one;
    const char *speed;
    assert_true(json_get_array(doctor, "measured", "doctor", &measured, &e));
    assert_true(json_get_string(doctor, "speed", "doctor", &speed, &e));
    assert_int_equal(cJSON_GetArraySize(measured), 2); // one thread, all CPUs
    cJSON_ArrayForEach(one, measured) {
        double fma, memory;
        char said[32];
        assert_true(json_get_double(one, "fma_gflops", "doctor", &fma, &e));
        assert_true(json_get_double(one, "memory_gbytes_per_s", "doctor", &memory, &e));
        assert_true(fma > 0 && memory > 0);
        snprintf(said, sizeof said, " %.0f", fma); // measured once: the line has the same
        assert_non_null(strstr(speed, said));
    }
    cJSON_Delete(doctor);
}

static void without_a_terminal_it_runs_headless_and_says_so(void **state) {
    (void)state;
    char out[OUTPUT_SIZE];
    assert_int_equal(shell(out,
                           "\"$W/workbench\" --no-session --updates 1 algo.learning_starts=20 2>&1 "
                           "</dev/null | cat %s",
                           ""),
                     0);
    assert_non_null(strstr(out, "running headless"));
    assert_non_null(strstr(out, "done: 1 updates"));
}

// The places of closed streams must not go to the session's files, into which messages would then
// be written.
static void closed_streams_leave_the_session_whole(void **state) {
    (void)state;
    char out[OUTPUT_SIZE];
    assert_int_equal(
        shell(
            out,
            "\"$W/workbench\" train --headless --task static --updates 2 --sessions \"$T/closed\" "
            "algo.learning_starts=20 <&- >&- 2>&- %s",
            ""),
        0);
    assert_int_equal(
        shell(
            out,
            "! grep -v '^{.*}$' \"$T\"/closed/*/metrics.jsonl \"$T\"/closed/*/timing.jsonl 2>&1 %s",
            ""),
        0);
    assert_int_equal(
        shell(out, "! grep -rlaE 'world model|done:|session ' \"$T/closed\" 2>&1 %s", ""), 0);
}

static void output_that_does_not_arrive_is_a_failure(void **state) {
    (void)state;
    char out[OUTPUT_SIZE];
    assert_int_equal(shell(out, "\"$W/workbench\" %s 2>&1 >/dev/full", "doctor --json"), 1);
    assert_non_null(strstr(out, "cannot write to stdout"));
    assert_int_equal(shell(out, "\"$W/workbench\" %s 2>&1 >/dev/full", "--help"), 1);
}

// From another folder, through a link: relative paths are the caller's.
static void the_run_script_leaves_paths_to_its_caller(void **state) {
    (void)state;
    char out[OUTPUT_SIZE];
    const char *build = getenv("WORKBENCH_BUILD");
    if (build && strcmp(build, "build") != 0) skip(); // the script runs the default build only
    assert_int_equal(shell(out,
                           "mkdir -p \"$T/away\" && cp assets/roms/static.gb \"$T/away/own.gb\" && "
                           "ln -sf \"$PWD/run\" "
                           "\"$T/away/link\" %s",
                           ""),
                     0);
    assert_int_equal(
        shell(out,
              "cd \"$T/away\" && ./link train --headless --no-session --rom own.gb --updates 1 "
              "algo.learning_starts=20 2>&1 %s",
              ""),
        0);
    assert_non_null(strstr(out, "done: 1 updates"));
    assert_non_null(strstr(out, "(+0.0 %)")); // one update has changed nothing yet
}

static void write_rom(const char *name, const uint8_t *data, size_t n) {
    char path[PATH_SIZE];
    struct error e = {0};
    if (!path_join(path, folder, name, &e) || !file_write_atomic(path, data, n, &e))
        fail_msg("%s", e.message);
}

// A header with the right checksum and the given cartridge type.
static void make_rom(uint8_t *rom, uint8_t type) {
    rom[0x147] = type;
    uint8_t sum = 0;
    for (int i = 0x134; i <= 0x14c; i++) sum = (uint8_t)(sum - rom[i] - 1);
    rom[0x14d] = sum;
}

static int setup(void **state) {
    (void)state;
    static uint8_t rom[32768];
    snprintf(folder, sizeof folder, "%s", test_folder());
    write_rom("empty.gb", rom, 0);
    write_rom("short.gb", rom, 100);
    make_rom(rom, 0);
    write_rom("cut.gb", rom, 20000);
    make_rom(rom, 0x22);
    write_rom("mapper.gb", rom, sizeof rom);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_input_gets_one_clear_line_and_its_exit_code),
        cmocka_unit_test(nothing_is_left_behind_by_a_refused_run),
        cmocka_unit_test(help_version_and_doctor_work_everywhere),
        cmocka_unit_test(doctor_gives_the_rates_it_measured_as_numbers),
        cmocka_unit_test(the_run_script_leaves_paths_to_its_caller),
        cmocka_unit_test(closed_streams_leave_the_session_whole),
        cmocka_unit_test(output_that_does_not_arrive_is_a_failure),
        cmocka_unit_test(without_a_terminal_it_runs_headless_and_says_so),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
