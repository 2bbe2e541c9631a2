#include "model/gguf_file.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "check_run.h"
#include "model/gguf_make.h"

static char path[] = "/tmp/gguf_file_XXXXXX";
static char reason[256];

/* A small right file: all value types, three tensors. *ret_tensor_at: where the second tensor's dimension count stands. */
static struct make small(size_t *ret_tensor_at) {
    static const uint32_t numbers[] = {3, 1, 2};
    struct make m = make_begin();
    make_text(&m, "a.text", "hello w\xc3\xb6rld");
    make_u32(&m, "a.number", 42);
    make_f32(&m, "a.real", 1.5f);
    make_array(&m, "a.list", GGUF_U32, 3, numbers);
    make_tokens(&m, 5);
    make_key(&m, "a.wide", GGUF_U64);
    buf_u64(&m.b, UINT64_C(1) << 40);
    make_key(&m, "a.negative", GGUF_I8);
    buf_u8(&m.b, 0xff);
    make_key(&m, "a.flag", GGUF_BOOL);
    buf_u8(&m.b, 1);
    make_key(&m, "a.double", GGUF_F64);
    buf_f64(&m.b, -0.25);
    make_tensor(&m, "first", 32, 4, 8);
    size_t at = make_tensor(&m, "second", 7, 3, 0);
    make_tensor(&m, "third", 256, 1, 12);
    make_counts(&m);
    make_data(&m);
    if (ret_tensor_at) *ret_tensor_at = at;
    return m;
}

static enum err open_bytes(const struct make *m, struct gguf_file **ret) {
    make_write(m, path);
    reason[0] = '\0';
    *ret = NULL;
    return gguf_file_open(path, ret, reason, sizeof reason);
}

static void refused(struct make *m, const char *words) {
    struct gguf_file *f;
    enum err err = open_bytes(m, &f);
    ck_assert_msg(err == ERR_MODEL_INVALID, "%s instead of a refusal with '%s'", err_name(err), words);
    ck_assert_msg(strstr(reason, words) != NULL, "'%s' does not say '%s'", reason, words);
    buf_free(&m->b);
}

static const struct gguf_kv *find(struct gguf_file *f, const char *key) {
    const struct gguf_kv *kv;
    ck_assert_int_eq(gguf_file_find(f, key, &kv), ERR_OK);
    return kv;
}

START_TEST(a_right_file) {
    struct make m = small(NULL);
    struct gguf_file *f;
    ck_assert_msg(open_bytes(&m, &f) == ERR_OK, "%s", reason);
    struct gguf_totals t = gguf_file_totals(f);
    ck_assert_uint_eq(t.version, 3);
    ck_assert_uint_eq(t.file_bytes, m.b.size);
    ck_assert_uint_eq(t.n_tensors, 3);
    ck_assert_uint_eq(t.n_params, 128 + 21 + 256);
    ck_assert_uint_eq(t.tensor_bytes, 4 * 34 + 84 + 144);
    uint32_t v, n, items[4];
    double d;
    char text[64];
    ck_assert_int_eq(gguf_file_u32(f, "k", find(f, "a.number"), &v), ERR_OK);
    ck_assert_uint_eq(v, 42);
    ck_assert_int_eq(gguf_file_u32(f, "k", find(f, "a.flag"), &v), ERR_OK);
    ck_assert_uint_eq(v, 1);
    ck_assert_int_eq(gguf_file_float(f, "k", find(f, "a.real"), &d), ERR_OK);
    ck_assert_double_eq(d, 1.5);
    ck_assert_int_eq(gguf_file_float(f, "k", find(f, "a.double"), &d), ERR_OK);
    ck_assert_double_eq(d, -0.25);
    ck_assert_int_eq(gguf_file_u32s(f, "k", find(f, "a.list"), items, 4, &n), ERR_OK);
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(items[0] * 100 + items[1] * 10 + items[2], 312);
    ck_assert_int_eq(gguf_file_string(f, "k", find(f, "a.text"), text, sizeof text), ERR_OK);
    ck_assert_str_eq(text, "hello w\xc3\xb6rld");
    ck_assert_int_eq(gguf_file_string(f, "k", find(f, "a.text"), text, 9),
                     ERR_OK); /* would cut the o in two */
    ck_assert_str_eq(text, "hello w");
    ck_assert_ptr_null(find(f, "a.numbe"));
    ck_assert_ptr_null(find(f, ""));
    ck_assert_uint_eq(find(f, "tokenizer.ggml.tokens")->n, 5);
    gguf_file_free(f);
    buf_free(&m.b);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(values_of_another_type) {
    struct make m = small(NULL);
    struct gguf_file *f;
    uint32_t v, items[4], n;
    double d;
    char text[8];
    static const char *const not_u32[] = {"a.text", "a.real", "a.wide", "a.negative", "a.list"};
    for (size_t i = 0; i < ARRAY_LEN(not_u32); i++) {
        ck_assert_int_eq(open_bytes(&m, &f), ERR_OK);
        ck_assert_int_eq(gguf_file_u32(f, "the.key", find(f, not_u32[i]), &v), ERR_MODEL_INVALID);
        ck_assert_ptr_nonnull(strstr(reason, "the.key is a "));
        gguf_file_free(f);
    }
    ck_assert_int_eq(open_bytes(&m, &f), ERR_OK);
    ck_assert_int_eq(gguf_file_float(f, "k", find(f, "a.number"), &d), ERR_MODEL_INVALID);
    gguf_file_free(f);
    ck_assert_int_eq(open_bytes(&m, &f), ERR_OK);
    ck_assert_int_eq(gguf_file_string(f, "k", find(f, "a.number"), text, sizeof text), ERR_MODEL_INVALID);
    gguf_file_free(f);
    ck_assert_int_eq(open_bytes(&m, &f), ERR_OK);
    ck_assert_int_eq(gguf_file_u32s(f, "k", find(f, "a.list"), items, 2, &n), ERR_MODEL_INVALID);
    ck_assert_ptr_nonnull(strstr(reason, "3 items; at most 2"));
    gguf_file_free(f);
    ck_assert_int_eq(open_bytes(&m, &f), ERR_OK);
    ck_assert_int_eq(gguf_file_u32s(f, "k", find(f, "tokenizer.ggml.tokens"), items, 4, &n),
                     ERR_MODEL_INVALID);
    gguf_file_free(f);
    buf_free(&m.b);
}
END_TEST

static struct make with_u32(size_t at, uint64_t v, size_t n_bytes) {
    struct make m = small(NULL);
    make_set(&m, at, v, n_bytes);
    return m;
}

START_TEST(wrong_heads) {
    struct make m = with_u32(0, 0x55474746, 4);
    refused(&m, "not a GGUF file");
    m = with_u32(4, 1, 4);
    refused(&m, "version 1; versions 2 and 3");
    m = with_u32(4, 4, 4);
    refused(&m, "version 4");
    m = with_u32(4, 0x03000000, 4);
    refused(&m, "big-endian");
    m = with_u32(MAKE_KV_COUNT_AT, 0, 8);
    refused(&m, "claims 0 metadata entries");
    m = with_u32(MAKE_KV_COUNT_AT, GGUF_KV_MAX + 1, 8);
    refused(&m, "claims 65,537 metadata entries");
    m = with_u32(MAKE_KV_COUNT_AT, UINT64_MAX, 8);
    refused(&m, "claims 18,446,744,073,709,551,615 metadata entries");
    m = with_u32(MAKE_KV_COUNT_AT, 1000, 8); /* allowed, and more than this file can hold */
    refused(&m, "that fit into the file");
    m = with_u32(MAKE_TENSOR_COUNT_AT, GGUF_TENSORS_MAX + 1, 8);
    refused(&m, "claims 65,537 tensors");
    m = with_u32(MAKE_TENSOR_COUNT_AT, 4, 8); /* one more than there is: the data is read as a tensor */
    refused(&m, "tensor");
    m = with_u32(MAKE_TENSOR_COUNT_AT, 2, 8); /* one fewer: the data begins too early, but fits */
    struct gguf_file *f;
    ck_assert_int_eq(open_bytes(&m, &f), ERR_OK);
    gguf_file_free(f);
    buf_free(&m.b);
}
END_TEST

START_TEST(wrong_metadata) {
    struct make m = make_begin();
    make_u32(&m, "twice", 1);
    make_u32(&m, "other", 1);
    make_u32(&m, "twice", 2);
    make_counts(&m);
    refused(&m, "same key");

    m = make_begin();
    make_u32(&m, "", 1);
    buf_u64(&m.b, 0);
    make_counts(&m);
    refused(&m, "key of metadata 1 claims 0 bytes");

    m = make_begin();
    make_u32(&m, "good", 1);
    buf_u64(&m.b, 2000);
    m.n_kv++;
    buf_u64(&m.b, 0);
    make_counts(&m);
    refused(&m, "key of metadata 2 claims 2,000 bytes");

    m = make_begin();
    make_key(&m, "strange\x1b", 13);
    buf_u64(&m.b, 0);
    make_counts(&m);
    refused(&m, "metadata strange?: there is no type 13");

    m = make_begin();
    make_key(&m, "long", GGUF_STRING);
    buf_u64(&m.b, GGUF_STRING_BYTES_MAX + 1);
    make_counts(&m);
    refused(&m, "metadata long: the string claims 16,777,217 bytes");

    m = make_begin();
    make_key(&m, "long", GGUF_STRING);
    buf_u64(&m.b, 1000);
    make_counts(&m);
    refused(&m, "the header wants 1,000 bytes at byte 48 of a file of 48");

    m = make_begin();
    make_array(&m, "nested", GGUF_ARRAY, 0, NULL);
    make_counts(&m);
    refused(&m, "metadata nested: an array can't have items of type 9");

    m = make_begin();
    make_array(&m, "wild", 99, 0, NULL);
    make_counts(&m);
    refused(&m, "items of type 99");

    m = make_begin();
    make_key(&m, "wide", GGUF_ARRAY);
    buf_u32(&m.b, GGUF_U64);
    buf_u64(&m.b, UINT64_MAX / 8 + 2); /* times 8 is 8 */
    make_counts(&m);
    refused(&m, "metadata wide: the array claims 2,305,843,009,213,693,953 items");

    m = make_begin();
    make_key(&m, "texts", GGUF_ARRAY);
    buf_u32(&m.b, GGUF_STRING);
    buf_u64(&m.b, 2);
    make_string(&m, "fine");
    buf_u64(&m.b, UINT64_MAX);
    make_counts(&m);
    refused(&m, "metadata texts: an item claims");
}
END_TEST

START_TEST(alignments) {
    static const uint32_t wrong[] = {0, 3, 48, 1u << 21, 0xffffffff};
    struct make m;
    struct gguf_file *f;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        m = make_begin();
        make_u32(&m, "general.alignment", wrong[i]);
        make_counts(&m);
        refused(&m, "a power of two up to 1048576 is right");
    }
    m = make_begin();
    make_u32(&m, "general.alignment", 32);
    make_tensor(&m, "t", 32, 1, 0);
    make_counts(&m);
    make_data(&m);
    ck_assert_int_eq(open_bytes(&m, &f), ERR_OK);
    gguf_file_free(f);
    buf_free(&m.b);
}
END_TEST

/* The second tensor's fields: dimensions 7 x 3, f32. */
START_TEST(wrong_tensors) {
    size_t at;
    struct make m = small(&at);
    buf_free(&m.b);
    m = with_u32(at, 0, 4);
    refused(&m, "tensor second claims 0 dimensions");
    m = with_u32(at, 5, 4);
    refused(&m, "tensor second claims 5 dimensions");
    m = with_u32(at + 4, 0, 8);
    refused(&m, "tensor second: dimension 1 is 0");
    m = with_u32(at + 4, UINT64_MAX, 8);
    refused(&m, "more values than can be counted");
    m = with_u32(at + 4, UINT64_C(1) << 62, 8);
    refused(&m, "more values than can be counted");
    m = with_u32(at + 4, UINT64_C(1) << 60, 8);
    refused(&m, "more bytes than can be counted");
    m = with_u32(at + 20, 4, 4);
    refused(&m, "type 4, which is not known");
    m = with_u32(at + 20, 1000, 4);
    refused(&m, "type 1000, which is not known");
    m = with_u32(at + 20, 8, 4);
    refused(&m, "tensor second: rows of 7 values can't be of type q8_0, which has blocks of 32");
    m = with_u32(at + 24, 128, 8);
    refused(&m, "tensor second begins at offset 128 of the data; 160 is where the one before ends");
    m = with_u32(at + 24, 192, 8);
    refused(&m, "tensor second begins at offset 192");
    m = with_u32(at + 24, UINT64_MAX - 31, 8);
    refused(&m, "tensor second begins at offset");
    m = with_u32(at + 12, 30, 8); /* more rows: the third one is not where it should be */
    refused(&m, "tensor third begins at offset");

    m = make_begin();
    make_u32(&m, "k", 1);
    make_tensor(&m, "same", 32, 1, 0);
    make_tensor(&m, "same", 32, 1, 0);
    make_counts(&m);
    make_data(&m);
    refused(&m, "two tensors have the same name");

    m = make_begin();
    make_u32(&m, "k", 1);
    make_tensor(&m, "a name that is one byte longer than the sixty-three that are right", 32, 1, 0);
    make_counts(&m);
    make_data(&m);
    refused(&m, "the name of tensor 1 claims 66 bytes; 1 to 63");
}
END_TEST

START_TEST(cut_at_every_byte) {
    struct make m = small(NULL);
    size_t whole = m.b.size, needed = whole - 16; /* the last tensor ends 16 before its padding */
    struct gguf_file *f;
    for (m.b.size = 0; m.b.size < needed; m.b.size++) {
        ck_assert_int_eq(open_bytes(&m, &f), ERR_MODEL_INVALID);
        ck_assert_str_ne(reason, "");
    }
    ck_assert_ptr_nonnull(strstr(reason, "tensor third ends at byte"));
    for (; m.b.size <= whole; m.b.size++) {
        ck_assert_int_eq(open_bytes(&m, &f), ERR_OK);
        gguf_file_free(f);
    }
    m.b.size = whole;
    buf_free(&m.b);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(every_byte_damaged) {
    static const uint8_t flips[] = {0x01, 0x40, 0x80, 0xff};
    struct make m = small(NULL);
    struct gguf_file *f;
    int taken = 0, refusals = 0;
    size_t header = m.b.size - m.data_bytes;
    for (size_t i = 0; i < header; i++) {
        for (size_t k = 0; k < sizeof flips; k++) {
            m.b.data[i] ^= flips[k];
            enum err err = open_bytes(&m, &f);
            ck_assert(err == ERR_OK || err == ERR_MODEL_INVALID);
            ck_assert((err != ERR_OK) == (reason[0] != '\0'));
            if (err)
                refusals++;
            else
                taken++;
            gguf_file_free(f);
            m.b.data[i] ^= flips[k];
        }
    }
    ck_assert_int_gt(taken, 100); /* values, names */
    ck_assert_int_gt(refusals, 100);
    buf_free(&m.b);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(torture) {
    struct make m = small(NULL);
    struct gguf_file *f = NULL;
    make_write(&m, path);
    int64_t before = mem_live_count();
    enum err err = ERR_NOMEM;
    for (int64_t n = 1; err; n++) {
        ck_assert_int_lt(n, 100);
        mem_fail_at(n);
        reason[0] = '\0';
        err = gguf_file_open(path, &f, reason, sizeof reason);
        mem_fail_at(0);
        ck_assert(err == ERR_OK || err == ERR_NOMEM);
        if (err) {
            ck_assert_str_ne(reason, "");
            ck_assert_int_eq(mem_live_count(), before);
        }
    }
    gguf_file_free(f);
    buf_free(&m.b);
}
END_TEST

START_TEST(what_is_no_file) {
    struct gguf_file *f;
    ck_assert_int_eq(gguf_file_open("/no/such/file", &f, reason, sizeof reason), ERR_NOT_FOUND);
    ck_assert_int_eq(gguf_file_open("/tmp", &f, reason, sizeof reason), ERR_MODEL_INVALID);
    ck_assert_ptr_nonnull(strstr(reason, "not a regular file"));
    char fifo[64];
    snprintf(fifo, sizeof fifo, "%s.fifo", path);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    ck_assert_int_eq(gguf_file_open(fifo, &f, reason, sizeof reason),
                     ERR_MODEL_INVALID); /* and does not wait for a writer */
    unlink(fifo);
    ck_assert_int_eq(truncate(path, 0), 0);
    ck_assert_int_eq(gguf_file_open(path, &f, reason, sizeof reason), ERR_MODEL_INVALID);
    ck_assert_ptr_nonnull(strstr(reason, "empty"));
    ck_assert_int_eq(truncate(path, (off_t)1 << 40), 0); /* a terabyte of nothing */
    ck_assert_int_eq(gguf_file_open(path, &f, reason, sizeof reason), ERR_MODEL_INVALID);
    gguf_file_free(NULL);
}
END_TEST

/* A header that is all claims: 65,536 arrays of 16 million numbers in a file of holes. Reading ends at the header's limit. */
START_TEST(a_header_without_end) {
    struct make m = make_begin();
    struct gguf_file *f;
    make_key(&m, "big", GGUF_ARRAY);
    buf_u32(&m.b, GGUF_U64);
    buf_u64(&m.b, GGUF_ARRAY_MAX);
    make_counts(&m);
    make_set(&m, MAKE_KV_COUNT_AT, 50000, 8);
    make_write(&m, path);
    ck_assert_int_eq(truncate(path, (off_t)1 << 40), 0);
    ck_assert_int_eq(gguf_file_open(path, &f, reason, sizeof reason), ERR_MODEL_INVALID);
    buf_free(&m.b);
}
END_TEST

int main(void) {
    int fd = mkstemp(path);
    if (fd < 0) return EXIT_FAILURE;
    close(fd);
    const TTest *const tests[] = {
        a_right_file, values_of_another_type, wrong_heads,         wrong_metadata,
        alignments,   wrong_tensors,          cut_at_every_byte,   every_byte_damaged,
        torture,      what_is_no_file,        a_header_without_end};
    int status = CHECK_RUN("gguf_file", tests);
    unlink(path);
    return status;
}
