#include "store/store_format.h"

#include "store_rig.h"

static struct store_header sample(enum store_part part, uint32_t n_tokens) {
    struct store_header h = {.part = part,
                             .tag = rig_tag(1),
                             .parent = rig_tag(2),
                             .n_tokens = n_tokens,
                             .first_pos = 512,
                             .part_size = 77,
                             .part_hash = 0x1122334455667788u,
                             .model = "qwen",
                             .flags = n_tokens < BLOCK_TOKENS};
    if (n_tokens < BLOCK_TOKENS) strcpy(h.agent, "ann@example.org");
    if (part == STORE_PART_WINDOW) h.window_from = 520;
    rig_tokens(h.tokens, n_tokens, 3, 0);
    h.name = block_name_of((struct block_name){h.parent}, h.tag, h.tokens, n_tokens).h;
    return h;
}

static struct buf encoded(struct store_header *h) {
    struct buf b = BUF(0);
    ck_assert_int_eq(store_format_encode(h, &b), ERR_OK);
    return b;
}

static enum err decode(const struct buf *b, const char **reason) {
    struct store_header h;
    return store_format_decode(b->data, b->size, b->size + 77, &h, reason);
}

START_TEST(what_was_encoded_is_decoded) {
    uint32_t sizes[] = {1, 2, 255, 256};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int part = STORE_PART_BASE; part <= STORE_PART_WINDOW; part++) {
            struct store_header h = sample((enum store_part)part, sizes[i]), back;
            if (part == STORE_PART_WINDOW && sizes[i] < 8) h.window_from = 512;
            struct buf b = encoded(&h);
            const char *reason = NULL;
            ck_assert_int_eq(store_format_decode(b.data, b.size, b.size + 77, &back, &reason), ERR_OK);
            ck_assert_str_eq(reason, "ok");
            ck_assert_mem_eq(&back, &h, sizeof h);
            ck_assert_uint_eq(h.header_size, b.size);
            buf_free(&b);
        }
    }
}
END_TEST

/* docs/store-format.md in bytes: a change here is another STORE_FORMAT_VERSION. */
START_TEST(the_bytes_are_those_of_the_document) {
    struct store_header h = {.part = STORE_PART_BASE,
                             .n_tokens = 2,
                             .part_size = 5,
                             .part_hash = 0x0102030405060708u,
                             .model = "m",
                             .agent = "a",
                             .tokens = {1, -1}};
    memset(h.tag.b, 0xaa, 16);
    h.name = block_name_of((struct block_name){h.parent}, h.tag, h.tokens, 2).h;
    struct buf b = encoded(&h);
    static const uint8_t start[] = {'h', 'o', 't', 's', 'e', 'a', 't', 'B', 1, 0, 0, 0, 122, 0, 0, 0, 1, 0, 1,
                                    0,   1,   0,   0,   0,   2,   0,   0,   0, 0, 0, 0, 0,   0, 0, 0, 0, 0, 0,
                                    0,   0,   5,   0,   0,   0,   0,   0,   0, 0, 8, 7, 6,   5, 4, 3, 2, 1};
    static const uint8_t end[] = {'m', 'a', 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
    ck_assert_uint_eq(b.size, 122);
    ck_assert_mem_eq(b.data, start, sizeof start);
    ck_assert_mem_eq(b.data + 56, h.tag.b, 16);
    ck_assert_mem_eq(b.data + 72, h.parent.b, 16);
    ck_assert_mem_eq(b.data + 88, h.name.b, 16);
    ck_assert_mem_eq(b.data + 104, end, sizeof end);
    char hex[HASH128_HEX_SIZE];
    hash128_hex(h.name, hex);
    uint8_t chained[16 + 16 + 8] = {0};
    memset(chained + 16, 0xaa, 16);
    memcpy(chained + 32, end + 2, 8);
    ck_assert(hash128_equal(h.name, hash128(chained, sizeof chained)));
    buf_free(&b);
}
END_TEST

START_TEST(any_flipped_bit_of_a_header_is_seen) {
    struct store_header h = sample(STORE_PART_WINDOW, 100);
    struct buf b = encoded(&h);
    for (size_t i = 0; i < b.size * 8; i++) {
        const char *reason = NULL;
        b.data[i / 8] ^= (uint8_t)(1 << i % 8);
        enum err err = decode(&b, &reason);
        ck_assert(err == ERR_CORRUPT || (err == ERR_VERSION && i / 8 >= 8 && i / 8 < 12));
        ck_assert_ptr_nonnull(reason);
        b.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    const char *reason;
    ck_assert_int_eq(decode(&b, &reason), ERR_OK);
    buf_free(&b);
}
END_TEST

START_TEST(any_cut_is_seen) {
    struct store_header h = sample(STORE_PART_BASE, 256), back;
    struct buf b = encoded(&h);
    const char *reason;
    for (size_t n = 0; n < b.size; n++) {
        uint8_t *exact = mem_dup(b.data, n); /* so that a sanitizer sees a read past it */
        ck_assert_int_eq(store_format_decode(exact, n, n, &back, &reason), ERR_CORRUPT);
        mem_free(exact);
    }
    ck_assert_int_eq(store_format_decode(b.data, b.size, b.size + 76, &back, &reason), ERR_CORRUPT);
    ck_assert_str_eq(reason, "cut short");
    ck_assert_int_eq(store_format_decode(b.data, b.size, b.size + 78, &back, &reason), ERR_CORRUPT);
    ck_assert_str_eq(reason, "bytes after its end");
    buf_free(&b);
}
END_TEST

static void reseal(struct buf *b) {
    uint64_t sum = hash64(b->data, b->size - 8);
    for (int i = 0; i < 8; i++) b->data[b->size - 8 + (size_t)i] = (uint8_t)(sum >> (8 * i));
}

/* A checksum proves that a writer wrote it, not that the writer was right. */
START_TEST(wrong_values_under_a_right_checksum_are_refused) {
    static const struct {
        size_t at;
        uint8_t value;
        const char *reason;
    } rows[] = {{16, 3, "unknown kind of part"},
                {17, 2, "unknown flags"},
                {18, 255, "too long a name"},
                {22, 1, "unknown flags"},
                {24, 0, "impossible number of tokens"},
                {25, 2, "impossible number of tokens"},
                {28, 1, "a first position between blocks"},
                {31, 0x80, "a first position between blocks"},
                {32, 1, "a window in a base part"},
                {43, 0x7f, "impossible part size"},
                {56, 1, "its name is not that of its tokens"},
                {104, 0, "a name with NUL"},
                {123, 9, "its name is not that of its tokens"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_header h = sample(STORE_PART_BASE, 100);
        struct buf b = encoded(&h);
        const char *reason = NULL;
        b.data[rows[i].at] =
            (uint8_t)(b.data[rows[i].at] == rows[i].value ? rows[i].value + 1 : rows[i].value);
        reseal(&b);
        ck_assert_int_eq(decode(&b, &reason), ERR_CORRUPT);
        ck_assert_msg(strcmp(reason, rows[i].reason) == 0, "row %zu: %s", i, reason);
        buf_free(&b);
    }
    struct store_header h = sample(STORE_PART_WINDOW, 100);
    h.window_from = 613;
    struct buf b = encoded(&h);
    const char *reason;
    ck_assert_int_eq(decode(&b, &reason), ERR_CORRUPT);
    buf_free(&b);
    h = sample(STORE_PART_BASE, 256);
    strcpy(h.agent, "x");
    b = encoded(&h);
    ck_assert_int_eq(decode(&b, &reason), ERR_CORRUPT);
    buf_free(&b);
    h = sample(STORE_PART_BASE, 100);
    h.first_pos = 0;
    b = encoded(&h);
    ck_assert_int_eq(decode(&b, &reason), ERR_CORRUPT);
    buf_free(&b);
}
END_TEST

START_TEST(a_match_says_what_differs) {
    struct store_header h = sample(STORE_PART_BASE, 100);
    struct store_expected good = {.part = h.part,
                                  .tag = h.tag,
                                  .parent = h.parent,
                                  .name = h.name,
                                  .first_pos = 512,
                                  .n_tokens = 100,
                                  .tokens = h.tokens},
                          x;
    int32_t other[100];
    memcpy(other, h.tokens, sizeof other);
    other[99]++;
    const char *reason;
    ck_assert_int_eq(store_format_match(&h, &good, &reason), ERR_OK);
    x = good, x.tag = rig_tag(9);
    ck_assert_int_eq(store_format_match(&h, &x, &reason), ERR_MISMATCH);
    ck_assert_str_eq(reason, "another model's block");
    x = good, x.name = rig_tag(9);
    ck_assert_int_eq(store_format_match(&h, &x, &reason), ERR_MISMATCH);
    x = good, x.part = STORE_PART_WINDOW;
    ck_assert_int_eq(store_format_match(&h, &x, &reason), ERR_MISMATCH);
    x = good, x.parent = rig_tag(9);
    ck_assert_int_eq(store_format_match(&h, &x, &reason), ERR_MISMATCH);
    x = good, x.first_pos = 256;
    ck_assert_int_eq(store_format_match(&h, &x, &reason), ERR_MISMATCH);
    x = good, x.tokens = other;
    ck_assert_int_eq(store_format_match(&h, &x, &reason), ERR_MISMATCH);
    ck_assert_str_eq(reason, "other tokens");
    x = good, x.tokens = NULL;
    ck_assert_int_eq(store_format_match(&h, &x, &reason), ERR_OK);
}
END_TEST

START_TEST(names_depend_on_all_of_it) {
    int32_t t[256];
    rig_tokens(t, 256, 1, 0);
    struct block_name root = {{{0}}}, a = block_name_of(root, rig_tag(1), t, 256);
    struct block_name others[] = {block_name_of(root, rig_tag(2), t, 256),
                                  block_name_of(a, rig_tag(1), t, 256),
                                  block_name_of(root, rig_tag(1), t, 255),
                                  {{{0}}}};
    t[200]++;
    others[3] = block_name_of(root, rig_tag(1), t, 256);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) ck_assert(!hash128_equal(a.h, others[i].h));
}
END_TEST

START_TEST(no_memory_is_an_error) {
    struct store_header h = sample(STORE_PART_BASE, 100);
    for (int64_t n = 1; n < 6; n++) {
        struct buf b = BUF(0);
        mem_fail_at(n);
        enum err err = store_format_encode(&h, &b);
        mem_fail_at(0);
        ck_assert(err == ERR_OK || err == ERR_NOMEM);
        buf_free(&b);
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {what_was_encoded_is_decoded,
                                  the_bytes_are_those_of_the_document,
                                  any_flipped_bit_of_a_header_is_seen,
                                  any_cut_is_seen,
                                  wrong_values_under_a_right_checksum_are_refused,
                                  a_match_says_what_differs,
                                  names_depend_on_all_of_it,
                                  no_memory_is_an_error};
    return CHECK_RUN("store_format", tests);
}
