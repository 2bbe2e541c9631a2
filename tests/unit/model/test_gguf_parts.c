#include "model/gguf_parts.h"

#include "base/mem.h"
#include "check_run.h"

static void is(const char *path, uint32_t count, uint32_t number) {
    uint32_t n;
    ck_assert_msg(gguf_parts_count(path, &n) == count && n == number, "%s", path);
}

START_TEST(names) {
    is("/m/model.gguf", 1, 1);
    is("/m/model-00001-of-00003.gguf", 3, 1);
    is("/m/model-00003-of-00003.gguf", 3, 3);
    is("/m/model-00001-of-00001.gguf", 1, 1);
    is("/m/model-00004-of-00003.gguf", 1, 1); /* no such part */
    is("/m/model-00000-of-00003.gguf", 1, 1);
    is("/m/model-00001-of-00065.gguf", 1, 1); /* more than we take */
    is("/m/model-0001-of-0003.gguf", 1, 1);
    is("/m/model-00001-of-0000x.gguf", 1, 1);
    is("-00001-of-00003.gguf", 1, 1); /* a part of nothing */
    is("", 1, 1);
}
END_TEST

START_TEST(paths) {
    char *s = gguf_parts_path("/m/model-00001-of-00012.gguf", 11);
    ck_assert_str_eq(s, "/m/model-00011-of-00012.gguf");
    mem_free(s);
    s = gguf_parts_path("/m/model.gguf", 1);
    ck_assert_str_eq(s, "/m/model.gguf");
    mem_free(s);
    mem_fail_at(1);
    ck_assert_ptr_null(gguf_parts_path("/m/model-00001-of-00012.gguf", 2));
}
END_TEST

START_TEST(stems) {
    ck_assert_uint_eq(gguf_parts_stem("model.gguf"), 5);
    ck_assert_uint_eq(gguf_parts_stem("/m/model-00002-of-00003.gguf"), 8);
    ck_assert_uint_eq(gguf_parts_stem("model-00001-of-00001.gguf"), 5);
    ck_assert_uint_eq(gguf_parts_stem("model-00002-of-00100.gguf"),
                      5); /* more than we take, and still a set */
    ck_assert_uint_eq(gguf_parts_stem("model-0001-of-0003.gguf"), 18);
    ck_assert_uint_eq(gguf_parts_stem("-00001-of-00003.gguf"), 15);
    ck_assert_uint_eq(gguf_parts_stem(".gguf"), 0);
    ck_assert_uint_eq(gguf_parts_stem("model.bin"), 0);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {names, paths, stems};
    return CHECK_RUN("gguf_parts", tests);
}
