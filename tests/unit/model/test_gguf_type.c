#include "model/gguf_type.h"

#include "check_run.h"

START_TEST(blocks_are_sane) {
    int n = 0;
    for (uint32_t i = 0; i < 100; i++) {
        const struct gguf_tensor_type *t = gguf_tensor_type_of(i);
        if (!t) continue;
        n++;
        ck_assert_uint_gt(t->block_values, 0);
        ck_assert_uint_gt(t->block_bytes, 0);
        ck_assert_uint_le(t->block_bytes, t->block_values * 8);
        ck_assert_ptr_nonnull(t->name);
    }
    ck_assert_int_eq(n, 35);
    ck_assert_ptr_null(gguf_tensor_type_of(4));
    ck_assert_ptr_null(gguf_tensor_type_of(31));
    ck_assert_ptr_null(gguf_tensor_type_of(43));
    ck_assert_ptr_null(gguf_tensor_type_of(UINT32_MAX));
}
END_TEST

/* By the layouts themselves: scales, then so many bits a value. */
START_TEST(some_by_their_layout) {
    ck_assert_uint_eq(gguf_tensor_type_of(2)->block_bytes, 2 + 32 / 2);                        /* q4_0 */
    ck_assert_uint_eq(gguf_tensor_type_of(8)->block_bytes, 2 + 32);                            /* q8_0 */
    ck_assert_uint_eq(gguf_tensor_type_of(12)->block_bytes, 2 + 2 + 12 + 256 / 2);             /* q4_K */
    ck_assert_uint_eq(gguf_tensor_type_of(14)->block_bytes, 256 / 2 + 256 / 4 + 256 / 16 + 2); /* q6_K */
    ck_assert_uint_eq(gguf_tensor_type_of(39)->block_bytes, 1 + 32 / 2);                       /* mxfp4 */
}
END_TEST

START_TEST(value_types) {
    ck_assert_uint_eq(gguf_value_bytes(GGUF_BOOL), 1);
    ck_assert_uint_eq(gguf_value_bytes(GGUF_F64), 8);
    ck_assert_uint_eq(gguf_value_bytes(GGUF_STRING), 0);
    ck_assert_uint_eq(gguf_value_bytes(1000), 0);
    ck_assert_str_eq(gguf_value_type_name(GGUF_U32), "u32");
    ck_assert_str_eq(gguf_value_type_name(1000), "?");
}
END_TEST

int main(void) {
    const TTest *const tests[] = {blocks_are_sane, some_by_their_layout, value_types};
    return CHECK_RUN("gguf_type", tests);
}
