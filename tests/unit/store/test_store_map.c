#include "store/store_map.h"

#include "store_rig.h"

static struct store_map map;
static struct store_model *model;

static void set_up(void) {
    ck_assert_int_eq(store_map_init(&map), ERR_OK);
    model = store_map_model(&map, rig_tag(1), "m");
    ck_assert_ptr_nonnull(model);
}
static void tear_down(void) {
    store_map_free(&map);
    ck_assert_int_eq(mem_live_count(), 0);
}

/* Block i of a chain: names are made up, position is the depth. */
static struct store_node *add(uint8_t name, uint8_t parent, uint32_t depth, uint32_t n_tokens,
                              uint64_t window) {
    int32_t tokens[BLOCK_TOKENS] = {name};
    struct store_node *n = store_node_new(model, tokens, n_tokens);
    ck_assert_ptr_nonnull(n);
    n->name = rig_tag(name);
    if (depth) n->parent_name = rig_tag(parent);
    n->first_pos = depth * BLOCK_TOKENS;
    n->base_bytes = 5000;
    n->window_bytes = window;
    store_map_insert(&map, n);
    return n;
}

static size_t orphans(void) {
    size_t n = 0;
    for (size_t i = 0; i < STORE_ORPHAN_LISTS; i++) n += map.orphans[i].count;
    return n;
}

static struct store_node *oldest(void) {
    return LIST_ENTRY(list_first(&map.leaves), struct store_node, leaf);
}

START_TEST(only_ends_of_chains_are_leaves) {
    struct store_node *a = add(1, 0, 0, 256, 0);
    ck_assert_ptr_eq(oldest(), a);
    struct store_node *b = add(2, 1, 1, 256, 0), *t = add(3, 1, 1, 10, 0);
    ck_assert_uint_eq(map.leaves.count, 2);
    ck_assert_ptr_eq(oldest(), b);
    store_map_touch(&map, b, 5);
    ck_assert_ptr_eq(oldest(), t);
    store_map_remove(&map, b);
    ck_assert_uint_eq(map.leaves.count, 1);
    store_map_remove(&map, t);
    ck_assert_ptr_eq(oldest(), a); /* a leaf again */
    ck_assert(store_node_reachable(a));
}
END_TEST

START_TEST(a_parent_becomes_a_leaf_at_its_own_age) {
    struct store_node *a = add(1, 0, 0, 256, 0), *x = add(4, 0, 0, 256, 0), *b = add(2, 1, 1, 256, 0);
    ck_assert_ptr_eq(oldest(), x);
    store_map_remove(&map, b);
    ck_assert_ptr_eq(oldest(), a); /* older than x */
}
END_TEST

START_TEST(orphans_find_their_parent_when_it_comes) {
    struct store_node *c = add(3, 2, 2, 256, 0), *b = add(2, 1, 1, 256, 0);
    ck_assert(!store_node_reachable(c) && c->parent == b);
    ck_assert_uint_eq(orphans(), 1);
    struct store_node *a = add(1, 0, 0, 256, 0);
    ck_assert(store_node_reachable(c) && b->parent == a);
    ck_assert_uint_eq(orphans(), 0);
    store_map_remove(&map, b);
    ck_assert(!store_node_reachable(c));
    ck_assert_uint_eq(orphans(), 1);
    ck_assert_uint_eq(map.leaves.count, 2);
}
END_TEST

START_TEST(a_parent_at_the_wrong_place_is_none) {
    add(1, 0, 0, 256, 0);
    struct store_node *far = add(2, 1, 2, 256, 0), *tail = add(3, 0, 0, 9, 0), *under = add(4, 3, 1, 256, 0);
    ck_assert(!far->parent && !under->parent && tail->parent);
}
END_TEST

START_TEST(sums_follow_the_files) {
    struct store_node *a = add(1, 0, 0, 256, 1);
    ck_assert_uint_eq(map.bytes, 8192 + 4096);
    ck_assert_uint_eq(model->bytes, map.bytes);
    ck_assert_uint_eq(map.windows.count, 1);
    store_map_set_files(&map, a, 5000, 0);
    ck_assert_uint_eq(map.bytes, 8192);
    ck_assert_uint_eq(map.windows.count, 0);
    store_map_remove(&map, a);
    ck_assert_uint_eq(map.bytes + model->bytes + model->n_blocks + map.n_nodes, 0);
}
END_TEST

START_TEST(sorting_goes_by_last_use) {
    struct store_node *a = add(1, 0, 0, 256, 1), *b = add(2, 0, 0, 256, 1), *c = add(3, 0, 0, 256, 1);
    a->last_used = 30, b->last_used = 10, c->last_used = 20;
    a->window_used = 1, b->window_used = 2, c->window_used = 0;
    ck_assert_int_eq(store_map_sort(&map), ERR_OK);
    ck_assert_ptr_eq(oldest(), b);
    ck_assert_ptr_eq(LIST_ENTRY(list_first(&map.windows), struct store_node, window), c);
    store_map_touch(&map, b, 40);
    ck_assert_ptr_eq(oldest(), c);
    mem_fail_at(1);
    ck_assert_int_eq(store_map_sort(&map), ERR_NOMEM);
    mem_fail_at(0);
}
END_TEST

START_TEST(thousands_are_found_also_without_memory_to_grow) {
    mem_fail_at(1030 * 2 + 1); /* the first larger table */
    for (uint32_t i = 0; i < 5000; i++) {
        struct store_node *n = store_node_new(model, NULL, 256);
        if (!n) continue;
        n->name = hash128(&i, sizeof i);
        n->base_bytes = 1;
        store_map_insert(&map, n);
    }
    mem_fail_at(0);
    uint32_t found = 0;
    for (uint32_t i = 0; i < 5000; i++)
        found += store_map_find(&map, rig_tag(1), hash128(&i, sizeof i)) != NULL;
    ck_assert_uint_eq(found, map.n_nodes);
    ck_assert_uint_ge(found, 4999);
    ck_assert_ptr_null(store_map_find(&map, rig_tag(2), rig_tag(1)));
}
END_TEST

START_TEST(a_model_takes_its_last_id) {
    ck_assert_ptr_eq(store_map_model(&map, rig_tag(1), ""), model);
    ck_assert_str_eq(model->id, "m");
    ck_assert_ptr_eq(store_map_model(&map, rig_tag(1), "renamed"), model);
    ck_assert_str_eq(model->id, "renamed");
    struct store_model *other = store_map_model(&map, rig_tag(2), "m");
    ck_assert_ptr_ne(other, model);
    ck_assert_ptr_eq(store_map_model_find(&map, rig_tag(2)), other);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {only_ends_of_chains_are_leaves,
                                  a_parent_becomes_a_leaf_at_its_own_age,
                                  orphans_find_their_parent_when_it_comes,
                                  a_parent_at_the_wrong_place_is_none,
                                  sums_follow_the_files,
                                  sorting_goes_by_last_use,
                                  thousands_are_found_also_without_memory_to_grow,
                                  a_model_takes_its_last_id};
    return rig_run("store_map", tests, ARRAY_LEN(tests), set_up, tear_down);
}
