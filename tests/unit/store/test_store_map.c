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

static size_t count(const struct list *lists) {
    size_t n = 0;
    for (size_t i = 0; i < STORE_CLASSES; i++) n += lists[i].count;
    return n;
}

/* What would go next of all that is there. */
static struct store_node *next(bool *ret_window) {
    return store_map_victim(&map, 1, ret_window);
}
static struct store_node *next_leaf(void) {
    bool window = true;
    struct store_node *n = next(&window);
    ck_assert(!window);
    return n;
}

START_TEST(only_ends_of_chains_are_leaves) {
    struct store_node *a = add(1, 0, 0, 256, 0);
    ck_assert_ptr_eq(next_leaf(), a);
    struct store_node *b = add(2, 1, 1, 256, 0), *t = add(3, 1, 1, 250, 0);
    ck_assert_uint_eq(count(model->leaves), 2);
    ck_assert_ptr_eq(next_leaf(), b);
    store_map_touch(&map, b, 5);
    ck_assert_ptr_eq(next_leaf(), t);
    store_map_remove(&map, b);
    ck_assert_uint_eq(count(model->leaves), 1);
    store_map_remove(&map, t);
    ck_assert_ptr_eq(next_leaf(), a); /* a leaf again */
    ck_assert(store_node_reachable(a));
}
END_TEST

START_TEST(a_parent_becomes_a_leaf_at_its_own_age) {
    struct store_node *x = add(4, 0, 0, 256, 0), *a = add(1, 0, 0, 256, 0), *y = add(5, 0, 0, 256, 0),
                      *z = add(6, 0, 0, 256, 0), *b = add(2, 1, 1, 256, 0);
    store_map_remove(&map, b);
    struct store_node *const order[] = {x, a, y, z};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        ck_assert_ptr_eq(next_leaf(), order[i]);
        order[i]->kept_at = 1;
    }
    ck_assert_ptr_null(next_leaf());
}
END_TEST

START_TEST(a_place_is_found_from_both_ends) {
    struct store_node *n[20], *child[20];
    for (uint8_t i = 0; i < 20; i++) n[i] = add((uint8_t)(i + 1), 0, 0, 256, 0);
    for (uint8_t i = 0; i < 20; i++) child[i] = add((uint8_t)(i + 101), (uint8_t)(i + 1), 1, 256, 0);
    for (uint32_t i = 0; i < 20; i++) store_map_remove(&map, child[i * 7 % 20]); /* in any order */
    for (size_t i = 0; i < 20; i++) {
        ck_assert_ptr_eq(next_leaf(), n[i]);
        store_map_remove(&map, n[i]);
    }
}
END_TEST

/* ---- value ---- */

START_TEST(what_was_used_by_more_turns_stays_longer) {
    struct store_node *talk = add(1, 0, 0, 256, 0), *once = add(2, 0, 0, 256, 0);
    for (int turn = 0; turn < 5; turn++) store_map_use(&map, talk, 10 + turn);
    ck_assert_uint_eq(talk->uses, 5);
    store_map_use(&map, once, 20);
    store_map_use(&map, add(3, 0, 0, 256, 0), 30);
    ck_assert_uint_lt(talk->seq, once->seq);
    ck_assert_ptr_eq(next_leaf(), once);
}
END_TEST

START_TEST(a_conversation_goes_on_with_its_uses_and_a_branch_begins_anew) {
    struct store_node *system = add(1, 0, 0, 256, 0), *a = add(2, 1, 1, 256, 0);
    store_map_use(&map, a, 1);
    store_map_use(&map, a, 2);
    store_map_use(&map, a, 3);
    ck_assert_uint_eq(a->uses, 3);
    struct store_node *a2 = add(3, 2, 2, 256, 0), *tail = add(4, 3, 3, 9, 0);
    store_map_use(&map, tail, 4); /* the fourth turn has brought a block and a tail */
    ck_assert_uint_eq(a->uses, 4);
    ck_assert_uint_eq(a2->uses, 4);
    ck_assert_uint_eq(tail->uses, 4);
    struct store_node *side = add(5, 1, 1, 256, 0); /* another prompt under the same beginning */
    store_map_use(&map, side, 5);
    ck_assert_uint_eq(side->uses, 1);
    ck_assert_uint_eq(system->uses, 5);
    ck_assert_uint_gt(tail->seq, a2->seq); /* the end is the newest */
    ck_assert_uint_gt(side->seq, system->seq);
    for (int i = 0; i < 1000; i++) store_map_use(&map, side, 6);
    ck_assert_uint_eq(side->uses, STORE_USES_MAX);
}
END_TEST

START_TEST(a_dear_models_block_stays_longer_than_a_cheap_ones) {
    struct store_model *dear = store_map_model(&map, rig_tag(2), "dear");
    struct store_node *cheap = add(1, 0, 0, 256, 0), *newest = add(2, 0, 0, 256, 0);
    struct store_node *n = store_node_new(dear, NULL, 256);
    n->name = rig_tag(9);
    n->base_bytes = 5000;
    store_map_insert(&map, n);
    for (int i = 0; i < 3; i++) store_map_touch(&map, cheap, 1);
    store_map_touch(&map, newest, 1);
    ck_assert_ptr_eq(next_leaf(), n); /* nobody told what they cost: the older one */
    model->token_cost = 1000;
    dear->token_cost = 8000;
    ck_assert_ptr_eq(next_leaf(), cheap);
    model->pinned = true;
    ck_assert_ptr_eq(next_leaf(), n);
    dear->pinned = true;
    ck_assert_ptr_null(next_leaf());
}
END_TEST

START_TEST(a_window_part_goes_first_and_strands_its_leaf) {
    struct store_node *a = add(1, 0, 0, 256, 40000), *b = add(2, 0, 0, 256, 40000), *c = add(3, 0, 0, 256, 0);
    store_map_touch(&map, c, 1); /* the newest, but nobody can go on from it */
    bool window = false;
    ck_assert_ptr_eq(next(&window), a);
    ck_assert(window);
    store_map_set_files(&map, a, 5000, 0);
    ck_assert_ptr_eq(next(&window), a); /* its base part, before the window of b */
    ck_assert(!window);
    store_map_remove(&map, a);
    for (int i = 0; i < 20; i++) store_map_touch_window(&map, b, 2);
    ck_assert_ptr_eq(next(&window), c);
    ck_assert(!window);
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
    ck_assert_uint_eq(count(model->leaves), 2);
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
    ck_assert_uint_eq(count(model->windows), 1);
    store_map_set_files(&map, a, 5000, 0);
    ck_assert_uint_eq(map.bytes, 8192);
    ck_assert_uint_eq(count(model->windows), 0);
    store_map_remove(&map, a);
    ck_assert_uint_eq(map.bytes + model->bytes + model->n_blocks + map.n_nodes, 0);
}
END_TEST

START_TEST(sorting_goes_by_last_use) {
    struct store_node *a = add(1, 0, 0, 256, 1), *b = add(2, 0, 0, 256, 1), *c = add(3, 0, 0, 256, 1);
    a->last_used = 30, b->last_used = 10, c->last_used = 20;
    a->window_used = 15, b->window_used = 25, c->window_used = 5;
    ck_assert_int_eq(store_map_sort(&map), ERR_OK);
    uint64_t first = c->window_seq; /* leaves and windows are one order: c' b a' c b' a */
    ck_assert_uint_eq(b->seq, first + 1);
    ck_assert_uint_eq(a->window_seq, first + 2);
    ck_assert_uint_eq(c->seq, first + 3);
    ck_assert_uint_eq(b->window_seq, first + 4);
    ck_assert_uint_eq(a->seq, first + 5);
    bool window = false;
    ck_assert_ptr_eq(next(&window), c);
    ck_assert(window);
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
                                  a_place_is_found_from_both_ends,
                                  what_was_used_by_more_turns_stays_longer,
                                  a_conversation_goes_on_with_its_uses_and_a_branch_begins_anew,
                                  a_dear_models_block_stays_longer_than_a_cheap_ones,
                                  a_window_part_goes_first_and_strands_its_leaf,
                                  orphans_find_their_parent_when_it_comes,
                                  a_parent_at_the_wrong_place_is_none,
                                  sums_follow_the_files,
                                  sorting_goes_by_last_use,
                                  thousands_are_found_also_without_memory_to_grow,
                                  a_model_takes_its_last_id};
    return rig_run("store_map", tests, ARRAY_LEN(tests), set_up, tear_down);
}
