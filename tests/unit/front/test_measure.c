/* Asking a measuring seat and waiting for it, as `hotseat doctor` does; the seat is scripted. */
#include "front/measure.h"

#include "front_rig.h"

static enum err ask_about(const char *path, int64_t limit_ns, struct admission_measure *ret, char *why) {
    static const struct config config = {
        .parallel = 4, .memory_bytes = UINT64_C(1) << 30, .log_level = LOG_ERROR};
    char copy[64];
    snprintf(copy, sizeof copy, "%s", path);
    struct model m = {.path = copy, .kv = KV_Q8_0};
    return measure_now(&config, program, &m, limit_ns, ret, why, 256);
}

START_TEST(answer_comes_for_the_largest_pool_it_may_get) {
    struct admission_measure got = {0};
    char why[256] = "";
    ck_assert_msg(ask_about("/x/fine.gguf", WAIT_NS, &got, why) == ERR_OK, "%s", why);
    ck_assert(got.known);
    ck_assert_uint_eq(got.weights_bytes, 1u << 20);
    ck_assert_uint_eq(got.n_seqs, 16); /* as the seat will make it */
    ck_assert_uint_eq(got.n_cells,
                      2 * 4 * 1024); /* not the first question's 4 * 256: 4 sequences of its context, twice */
}
END_TEST

START_TEST(engine_that_dies_of_a_file_blames_it) {
    struct admission_measure got = {0};
    char why[256] = "";
    ck_assert_int_eq(ask_about("/x/dies.gguf", WAIT_NS, &got, why), ERR_MODEL_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "ended"));
    ck_assert(!got.known);
}
END_TEST

START_TEST(killed_seat_blames_no_file) {
    struct admission_measure got = {0};
    char why[256] = "";
    ck_assert_int_eq(ask_about("/x/killed.gguf", WAIT_NS, &got, why), ERR_NO_SEAT);
    ck_assert_ptr_nonnull(strstr(why, "killed"));
}
END_TEST

START_TEST(seat_that_says_nothing_is_given_up) {
    struct admission_measure got = {0};
    char why[256] = "";
    int64_t began_ns = clock_now_ns();
    ck_assert_int_eq(ask_about("/x/silent.gguf", 300 * NS_PER_MS, &got, why), ERR_TIMEOUT);
    ck_assert_int_lt(clock_now_ns() - began_ns, WAIT_NS);
}
END_TEST

START_TEST(program_that_is_no_seat) {
    struct admission_measure got = {0};
    char why[256] = "", path[] = "/x/fine.gguf";
    static const struct config config = {.parallel = 4, .memory_bytes = UINT64_C(1) << 30};
    struct model m = {.path = path};
    ck_assert_int_eq(measure_now(&config, "/no/such/program", &m, WAIT_NS, &got, why, sizeof why),
                     ERR_NO_SEAT);
    ck_assert_ptr_nonnull(strstr(why, "did not start"));
}
END_TEST

START_TEST(what_never_fits_is_told_from_what_does_not_fit_now) {
    static char id[] = "m";
    struct model m = {.id = id};
    struct admission_measure measure = {
        .known = true, .weights_bytes = 100u << 20, .base_bytes_per_token = 64, .n_cells = 1024, .n_seqs = 1};
    struct admission_limits limits = {
        .memory_bytes = 50u << 20, .group_bytes = UINT64_MAX, .available_bytes = UINT64_MAX, .parallel = 1};
    struct admission plan;
    char why[256] = "";
    ck_assert_int_eq(measure_admit(&m, &measure, &limits, &plan, why, sizeof why), ERR_MODEL_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(why, "50.0 MB are available"));
    limits.memory_bytes = UINT64_MAX;
    limits.available_bytes = 50u << 20;
    ck_assert_int_eq(measure_admit(&m, &measure, &limits, &plan, why, sizeof why), ERR_NO_SEAT);
    limits.available_bytes = 200u << 20;
    ck_assert_int_eq(measure_admit(&m, &measure, &limits, &plan, why, sizeof why), ERR_OK);
    measure.device_bytes = 60u << 20; /* it never gets larger */
    ck_assert_int_eq(measure_admit(&m, &measure, &limits, &plan, why, sizeof why), ERR_MODEL_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(why, "60.0 MB are available: the GPU may hold no more"));
}
END_TEST

int main(int argc, char **argv) {
    const TTest *const tests[] = {answer_comes_for_the_largest_pool_it_may_get,
                                  engine_that_dies_of_a_file_blames_it,
                                  killed_seat_blames_no_file,
                                  seat_that_says_nothing_is_given_up,
                                  program_that_is_no_seat,
                                  what_never_fits_is_told_from_what_does_not_fit_now};
    return FRONT_TESTS_RUN(argc, argv, "measure", tests);
}
