/* A swap whose world changes under it: files that go, models that come back. */
#include "front/swap.h"

#include "swap_rig.h"

/* The disk is looked at while a swap is under way, so its target may be in any state when its load is due. */
static void expect_load(struct model *m, enum model_state found, enum swap_state without) {
    bool can = found != MODEL_GONE && found != MODEL_INVALID;
    if (!can) {
        state(without);
        ck_assert_int_eq(m->state, found);
        return;
    }
    asked(MSG_TYPE_LOAD);
    ck_assert_str_eq(rig.last_model, m->id);
    loaded();
    configured();
    state(SWAP_SERVING);
    ck_assert_ptr_eq(rig.swap.seated, m);
}

START_TEST(every_state_a_model_may_be_found_in) {
    for (int found = MODEL_AVAILABLE; found <= MODEL_INVALID; found++) {
        seat_a();
        to_unloading();
        rig.b->state = (enum model_state)found;
        unloaded(10 * MB, 0);
        expect_load(rig.b, (enum model_state)found, SWAP_ROLLING_BACK);
        close_rig();
    }
    for (int found = MODEL_AVAILABLE; found <= MODEL_INVALID; found++) {
        seat_a();
        to_unloading();
        unloaded(10 * MB, 0);
        rig.a->state = (enum model_state)found;
        failed(ERR_MODEL_INVALID, "b is bad");
        expect_load(rig.a, (enum model_state)found, SWAP_FAILED);
        ck_assert_int_eq(rig.kills, 0); /* no other process would find the file */
        ck_assert_str_eq(rig.done.reason, "b is bad");
        close_rig();
    }
    for (int found = MODEL_AVAILABLE; found <= MODEL_INVALID; found++) {
        seat_a();
        died();
        rig.a->state = (enum model_state)found;
        ready();
        expect_load(rig.a, (enum model_state)found, SWAP_FAILED);
        ck_assert_int_eq(rig.kills, 0);
        close_rig();
    }
}
END_TEST

START_TEST(model_that_sat_returns_though_it_was_not_measured_again) {
    seat_a();
    rig.no_room = true; /* what plan says of a file that was touched, too */
    died();
    ready();
    state(SWAP_LOADING);
    loaded();
    configured();
    ck_assert_ptr_eq(rig.swap.seated, rig.a);
    close_rig();
}
END_TEST

START_TEST(what_sits_is_what_was_loaded) {
    seat_a();
    rig.a->kv = KV_F16; /* a reload */
    ck_assert_int_eq(rig.swap.kv, KV_Q8_0);
    died();
    ready();
    loaded();
    configured();
    ck_assert_int_eq(rig.swap.kv, KV_F16);
    close_rig();
}
END_TEST

START_TEST(hold_outlives_the_seat) {
    seat_a();
    to_unloading();
    unloaded(10 * MB, 0);
    loaded();
    configured();
    int64_t until_ns = rig.swap.hold_until_ns;
    ck_assert_int_gt(until_ns, rig.now);
    died();
    ready();
    loaded();
    configured();
    ck_assert_int_eq(rig.swap.hold_until_ns, until_ns);
    close_rig();
}
END_TEST

START_TEST(empty_server_whose_seat_comes_up_at_last) {
    open_rig();
    swap_start(&rig.swap, rig.now);
    for (int i = 0; i < SWAP_START_TRIES; i++) {
        died();
        later(SWAP_BACKOFF_MIN_NS << 4);
    }
    state(SWAP_FAILED);
    ready();
    state(SWAP_EMPTY); /* nobody had asked for a model: nothing has failed any more */
    close_rig();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {what_sits_is_what_was_loaded, every_state_a_model_may_be_found_in,
                                  model_that_sat_returns_though_it_was_not_measured_again,
                                  hold_outlives_the_seat, empty_server_whose_seat_comes_up_at_last};
    return CHECK_RUN("swap_return", tests);
}
