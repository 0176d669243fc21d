// Tests of `workbench sessions` and `train --resume` on lines that are not there: the program
// itself, on a short run's folder.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/file.h>

#include "support/program.h"

// A run of eight updates of PPO's toy, a record and a checkpoint each second one.
#define TOY                                                                                        \
    "train --headless --algo ppo --task toy env.num_envs=4 algo.rollout_steps=8 "                  \
    "env.max_episode_steps=6 "                                                                     \
    "metric.log_every=2 checkpoint.every=2 --sessions $T/s --threads 1 "

static void shell(const char *command) {
    if (system(command) != 0) fail_msg("%s", command);
}

// $T/a is whole; each test breaks its own copy $T/b.
static int setup(void **state) {
    (void)state;
    program_setup();
    fine(TOY "--updates 8 --output-tag x");
    shell("mv $T/s/*__x $T/a");
    return 0;
}

static int copy(void **state) {
    (void)state;
    shell("rm -rf $T/b && cp -r $T/a $T/b");
    return 0;
}

static void a_whole_session_is_fine(void **state) {
    (void)state;
    fine("sessions check $T/a");
    says("4 records, nothing wrong");
    fine("sessions check $T/a --json");
    says("{\"records\":4,\"fine\":true}");
}

static void a_line_that_is_not_there_fails_the_check(void **state) {
    (void)state;
    shell("sed -i 2d $T/b/metrics.jsonl");
    refused(1, "sessions check $T/b", "metrics.jsonl:2: step 6 where step 4 is due");
    copy(NULL);
    shell("sed -i 1d $T/b/metrics.jsonl");
    refused(1, "sessions check $T/b", "metrics.jsonl:1: step 4 where step 2 is due");
    copy(NULL); // the checkpoint of update 8 shows that its line was there
    shell("sed -i 4d $T/b/metrics.jsonl");
    refused(1, "sessions check $T/b --json", "step 8 is not there");
}

static void a_run_goes_on_after_lost_lines_and_says_which(void **state) {
    (void)state;
    fine("train --headless --threads 1 --resume $T/b --updates 10");
    if (strstr(out, "is due")) fail_msg("%s", out);
    fine("sessions check $T/b");
    copy(NULL);
    shell("sed -i 2d $T/b/metrics.jsonl");
    fine("train --headless --threads 1 --resume $T/b --updates 10");
    says("metrics.jsonl:2: step 6 where step 4 is due");
    refused(1, "sessions check $T/b", "step 4 is due");
}

static void another_distance_of_records_from_a_resume_on_is_fine(void **state) {
    (void)state;
    fine("train --headless --threads 1 --resume $T/b --updates 12 metric.log_every=3");
    fine("sessions check $T/b");
    says("6 records");
    shell("sed -i 5d $T/b/metrics.jsonl");
    refused(1, "sessions check $T/b", "step 12 where step 9 is due");
}

static void a_run_is_running_while_its_writer_lives(void **state) {
    (void)state;
    shell("mkdir -p $T/l && rm -rf $T/l/b && mv $T/b $T/l/b");
    fine("sessions list --sessions $T/l");
    says("done             8       256         -");
    shell("sed -i 's/\"done\"/\"running\"/' $T/l/b/heartbeat.json");
    fine("sessions list --sessions $T/l");
    says("killed           8");
    fine("sessions show $T/l/b/");
    says("/l/b: killed");
    char path[5000];
    snprintf(path, sizeof path, "%s/l/b/metrics.jsonl", folder);
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    fine("sessions list --sessions $T/l");
    says("running          8");
    refused(2, "train --headless --resume $T/l/b --updates 9", "another process");
    close(fd);
}

// The newest evaluation reached nothing; an older one had a median.
static void what_an_older_evaluation_found_does_not_stand_beside_the_newest(void **state) {
    (void)state;
    shell("sed -i -e '1s/,\"eval.*/}/; 2s/,\"eval.*/}/; 3s/,\"eval.*/}/; 4s/,\"eval.*/}/' "
          "-e '2s/}$/,\"eval_mean_return\":3.5,\"eval_success_rate\":1,\"eval_median_steps\":15}/' "
          "-e '4s/}$/,\"eval_mean_return\":-2.5,\"eval_success_rate\":0}/' $T/b/metrics.jsonl");
    fine("sessions show $T/b");
    says("eval_mean_return");
    says("-2.5");
    if (strstr(out, "eval_median_steps")) fail_msg("%s", out);
}

static void other_kernels_and_revisions_are_warned_of(void **state) {
    (void)state;
    shell("sed -i -e 's/\"kernel\".*/\"kernel\":\"mmx\",/' "
          "-e 's/\"revision\".*/\"revision\":\"old\",/' $T/b/meta.json");
    fine("train --headless --threads 1 --resume $T/b --updates 9");
    says("made with kernels mmx");
    says("made by revision old");
}

static void a_broken_checkpoint_of_ppo_names_the_one_before(void **state) {
    (void)state;
    shell("truncate -s 9000 $T/b/checkpoints/step_000000008.safetensors");
    refused(1, "train --headless --resume $T/b --updates 9", "the previous one is ");
}

static void a_session_given_twice_counts_once(void **state) {
    (void)state;
    shell("ln -sfn a $T/link");
    fine("sessions compare $T/a $T/a/ $T/b $T/link");
    says("/a/ is given twice; it counts once");
    says("/link is given twice; it counts once");
    says("2 seeds");
    if (strstr(out, "3 seeds") || strstr(out, "4 seeds")) fail_msg("%s", out);
    cJSON *o = json("sessions compare $T/a $T/a --json 2>$T/said");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(o, "runs")), 1);
    cJSON_Delete(o);
    shell("grep -q 'given twice' $T/said");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_session_is_fine),
        cmocka_unit_test_setup(a_line_that_is_not_there_fails_the_check, copy),
        cmocka_unit_test_setup(a_run_goes_on_after_lost_lines_and_says_which, copy),
        cmocka_unit_test_setup(another_distance_of_records_from_a_resume_on_is_fine, copy),
        cmocka_unit_test_setup(a_run_is_running_while_its_writer_lives, copy),
        cmocka_unit_test_setup(what_an_older_evaluation_found_does_not_stand_beside_the_newest,
                               copy),
        cmocka_unit_test_setup(other_kernels_and_revisions_are_warned_of, copy),
        cmocka_unit_test_setup(a_broken_checkpoint_of_ppo_names_the_one_before, copy),
        cmocka_unit_test_setup(a_session_given_twice_counts_once, copy),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
