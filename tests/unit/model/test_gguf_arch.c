#include "model/gguf_arch.h"

#include "check_run.h"

START_TEST(which_layers_have_a_window) {
    ck_assert_uint_eq(gguf_window_layers(18, 6, false), 15); /* gemma 3 270M: layers 5, 11, 17 are full */
    ck_assert_uint_eq(gguf_window_layers(48, 6, false), 40);
    ck_assert_uint_eq(gguf_window_layers(26, 6, false),
                      22); /* the last two of 26 are not the end of a period */
    ck_assert_uint_eq(gguf_window_layers(10, 4, true), 7); /* 0, 4, 8 are full */
    ck_assert_uint_eq(gguf_window_layers(5, 1, false), 0);
    ck_assert_uint_eq(gguf_window_layers(5, 0, false), 5);
    for (uint32_t layers = 1; layers < 70; layers++) {
        for (uint32_t period = 1; period < 9; period++) {
            uint32_t last = 0, first = 0;
            for (uint32_t i = 0; i < layers; i++) {
                last += i % period < period - 1;
                first += i % period != 0;
            }
            ck_assert_uint_eq(gguf_window_layers(layers, period, false), last);
            ck_assert_uint_eq(gguf_window_layers(layers, period, true), first);
        }
    }
}
END_TEST

START_TEST(families) {
    ck_assert_uint_eq(gguf_window_rule_of("gemma3")->period, 6);
    ck_assert_ptr_null(gguf_window_rule_of("llama"));
    ck_assert_ptr_null(gguf_window_rule_of("qwen2"));
    ck_assert(gguf_arch_recurrent("mamba2"));
    ck_assert(gguf_arch_recurrent("qwen3next"));
    ck_assert(!gguf_arch_recurrent("gemma3"));
    ck_assert(gguf_arch_writes_text("llama"));
    ck_assert(gguf_arch_writes_text("a family of tomorrow"));
    ck_assert(!gguf_arch_writes_text("bert"));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {which_layers_have_a_window, families};
    return CHECK_RUN("gguf_arch", tests);
}
