/* Columns and figures as people read them. */
#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/table.h"

static char *printed(const struct table *t) {
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(f);
    table_print(t, f);
    fclose(f);
    return text;
}

START_TEST(test_columns_are_aligned) {
    struct table *t = NULL;
    ck_assert_int_eq(table_open("NAME|>SIZE|NOTE", &t), ERR_OK);
    table_cell(t, "a"), table_cellf(t, "%d", 5), table_cell(t, "x");
    table_cell(t, "J\xC3\xBCrgen"), table_cellf(t, "%d", 12345), table_cell(t, NULL);
    char *text = printed(t);
    ck_assert_str_eq(text, "NAME     SIZE  NOTE\n"
                           "a           5  x\n"
                           "J\xC3\xBCrgen  12345  -\n");
    free(text);
    table_free(t);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(test_control_characters_do_not_reach_the_terminal) {
    struct table *t = NULL;
    ck_assert_int_eq(table_open("A", &t), ERR_OK);
    table_cell(t, "x\033[31my\n");
    char *text = printed(t);
    ck_assert_str_eq(text, "A\nx?[31my?\n");
    free(text);
    table_free(t);
}
END_TEST

START_TEST(test_figures) {
    ck_assert_str_eq(human_bytes(0), "0 B");
    ck_assert_str_eq(human_bytes(1023), "1023 B");
    ck_assert_str_eq(human_bytes(1536), "1.5 K");
    ck_assert_str_eq(human_bytes(UINT64_C(20) << 30), "20.0 G");
    ck_assert_str_eq(human_count(999), "999");
    ck_assert_str_eq(human_count(134515008), "134.5 M");
    ck_assert_str_eq(human_ms(999), "999 ms");
    ck_assert_str_eq(human_ms(3210), "3.2 s");
    ck_assert_str_eq(human_ms(240000), "4 min");
    ck_assert_str_eq(human_ago(-5), "0 s ago");
    ck_assert_str_eq(human_ago(600), "10 min ago");
    ck_assert_str_eq(human_ago(7200), "2 h ago");
    ck_assert_str_eq(human_ago(5 * 86400), "5 d ago");
}
END_TEST

START_TEST(test_no_memory_is_an_error_not_a_crash) {
    for (int n = 1; n < 12; n++) {
        struct table *t = NULL;
        mem_fail_at(n);
        if (table_open("A|B", &t) == ERR_OK) {
            table_cell(t, "x"), table_cell(t, "y");
            (void)table_error(t);
        }
        mem_fail_at(0);
        table_free(t);
        ck_assert_int_eq(mem_live_count(), 0);
    }
}
END_TEST

int main(void) {
    Suite *s = suite_create("table");
    TCase *t = tcase_create("all");
    tcase_add_test(t, test_columns_are_aligned);
    tcase_add_test(t, test_control_characters_do_not_reach_the_terminal);
    tcase_add_test(t, test_figures);
    tcase_add_test(t, test_no_memory_is_an_error_not_a_crash);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
