#include "base/list.h"

#include "check_run.h"

struct item {
    int value;
    struct list_node node;
};

static struct list list;
static struct item items[5];

static void fill(void) {
    list_init(&list);
    for (int i = 0; i < 5; i++) {
        items[i] = (struct item){.value = i};
        list_push_back(&list, &items[i].node);
    }
}

static int digits(void) { /* the values in order, as one number; 1 in front */
    int n = 1;
    LIST_EACH(&list, struct item, node, it) {
        n = n * 10 + it->value;
    }
    return n;
}

START_TEST(order_is_kept) {
    fill();
    ck_assert_int_eq(digits(), 101234);
    list_remove(&list, &items[2].node);
    ck_assert(!list_linked(&items[2].node));
    list_push_front(&list, &items[2].node);
    ck_assert_int_eq(digits(), 120134);
    list_remove(&list, &items[4].node);
    list_insert_after(&list, &items[4].node, &items[2].node);
    ck_assert_int_eq(digits(), 124013);
    list_remove(&list, &items[3].node);
    list_insert_after(&list, &items[3].node, NULL);
    ck_assert_int_eq(digits(), 132401);
    ck_assert_ptr_eq(list_last(&list), &items[1].node);
    ck_assert_ptr_eq(list_prev(&list, &items[1].node), &items[0].node);
    ck_assert_ptr_null(list_prev(&list, &items[3].node));
    ck_assert_uint_eq(list.count, 5);
}
END_TEST

START_TEST(an_empty_list_has_no_first) {
    list_init(&list);
    ck_assert_ptr_null(list_first(&list));
    ck_assert_ptr_null(list_last(&list));
    ck_assert_int_eq(digits(), 1);
    struct item *none = LIST_ENTRY(list_first(&list), struct item, node);
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(an_entry_may_be_removed_while_walking) {
    fill();
    LIST_EACH(&list, struct item, node, it) {
        if (it->value % 2 == 0) list_remove(&list, &it->node);
    }
    ck_assert_int_eq(digits(), 113);
    LIST_EACH(&list, struct item, node, it) {
        list_remove(&list, &it->node);
    }
    ck_assert_uint_eq(list.count, 0);
    ck_assert_ptr_null(list_first(&list));
}
END_TEST

static void push_twice(void) {
    fill();
    list_push_back(&list, &items[0].node);
}

static void remove_twice(void) {
    fill();
    list_remove(&list, &items[0].node);
    list_remove(&list, &items[0].node);
}

START_TEST(misuse_is_a_bug) {
    ck_assert(check_aborts(push_twice));
    ck_assert(check_aborts(remove_twice));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {order_is_kept, an_empty_list_has_no_first,
                                  an_entry_may_be_removed_while_walking, misuse_is_a_bug};
    return CHECK_RUN("list", tests);
}
