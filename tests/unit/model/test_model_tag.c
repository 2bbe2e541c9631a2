#include "model/model_tag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "check_run.h"

static char dir[] = "/tmp/model_tag_XXXXXX";

static const char *path_of(const char *name) {
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

/* size bytes that depend on seed. */
static void write_file(const char *name, size_t size, unsigned seed) {
    FILE *f = fopen(path_of(name), "wb");
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < size; i++) fputc((int)((i * 31 + seed) % 251), f);
    ck_assert_int_eq(fclose(f), 0);
}

static struct hash128 hash_of(const char *name, uint64_t slice, int *ret_steps) {
    struct model_hash *h;
    struct hash128 hash;
    bool done = false;
    int steps = 0;
    ck_assert_int_eq(model_hash_open(path_of(name), &h), ERR_OK);
    for (; !done; steps++) ck_assert_int_eq(model_hash_step(h, slice, &done, &hash), ERR_OK);
    model_hash_free(h);
    if (ret_steps) *ret_steps = steps;
    return hash;
}

START_TEST(slices_do_not_matter) {
    enum { SIZE = 300000 };
    write_file("a.gguf", SIZE, 1);
    uint8_t *all = malloc(SIZE);
    FILE *f = fopen(path_of("a.gguf"), "rb");
    ck_assert_uint_eq(fread(all, 1, SIZE, f), SIZE);
    fclose(f);
    struct hash128 expected = hash128(all, SIZE);
    free(all);
    static const uint64_t slices[] = {1000, 4096, 299999, 300000, 300001, UINT64_C(1) << 40};
    for (size_t i = 0; i < ARRAY_LEN(slices); i++) {
        int steps;
        ck_assert(hash128_equal(hash_of("a.gguf", slices[i], &steps), expected));
        ck_assert_int_ge(steps, (int)(SIZE / slices[i]));
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(one_byte_makes_another_hash) {
    write_file("a.gguf", 100000, 1);
    struct hash128 before = hash_of("a.gguf", 1 << 20, NULL);
    FILE *f = fopen(path_of("a.gguf"), "r+b");
    fseek(f, 77777, SEEK_SET);
    fputc(255, f);
    fclose(f);
    ck_assert(!hash128_equal(hash_of("a.gguf", 1 << 20, NULL), before));
}
END_TEST

START_TEST(every_part_is_read) {
    write_file("s-00001-of-00002.gguf", 1000, 1);
    write_file("s-00002-of-00002.gguf", 2000, 2);
    struct hash128 before = hash_of("s-00001-of-00002.gguf", 700, NULL);
    ck_assert(hash128_equal(hash_of("s-00001-of-00002.gguf", 1 << 20, NULL), before));
    struct file_identity a, b;
    ck_assert_int_eq(file_identity_of(path_of("s-00001-of-00002.gguf"), &a), ERR_OK);
    ck_assert_uint_eq(a.size_bytes, 3000);
    write_file("s-00002-of-00002.gguf", 2000, 3);
    ck_assert(!hash128_equal(hash_of("s-00001-of-00002.gguf", 700, NULL), before));
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path_of("s-00002-of-00002.gguf"), times, 0), 0);
    ck_assert_int_eq(file_identity_of(path_of("s-00001-of-00002.gguf"), &b), ERR_OK);
    ck_assert(!file_identity_equal(&a, &b));
    unlink(path_of("s-00002-of-00002.gguf"));
    struct model_hash *h;
    ck_assert_int_eq(model_hash_open(path_of("s-00001-of-00002.gguf"), &h), ERR_NOT_FOUND);
    ck_assert_int_eq(file_identity_of(path_of("s-00001-of-00002.gguf"), &b), ERR_NOT_FOUND);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(a_file_that_changes_meanwhile) {
    struct model_hash *h;
    struct hash128 hash;
    bool done;
    write_file("a.gguf", 10000, 1);
    ck_assert_int_eq(model_hash_open(path_of("a.gguf"), &h), ERR_OK);
    ck_assert_int_eq(model_hash_step(h, 5000, &done, &hash), ERR_OK);
    ck_assert(!done);
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path_of("a.gguf"), times, 0), 0);
    ck_assert_int_eq(model_hash_step(h, 50000, &done, &hash), ERR_MISMATCH);
    model_hash_free(h);
    ck_assert_int_eq(model_hash_open(path_of("a.gguf"), &h), ERR_OK);
    ck_assert_int_eq(truncate(path_of("a.gguf"), 7000), 0);
    ck_assert_int_eq(model_hash_step(h, 50000, &done, &hash), ERR_MISMATCH);
    model_hash_free(h);
}
END_TEST

START_TEST(what_can_not_be_read) {
    struct model_hash *h;
    struct file_identity id;
    ck_assert_int_eq(model_hash_open("/no/such/file", &h), ERR_NOT_FOUND);
    ck_assert_int_eq(model_hash_open("/tmp", &h), ERR_IO);
    ck_assert_int_eq(file_identity_of("/no/such/file", &id), ERR_NOT_FOUND);
    model_hash_free(NULL);
    write_file("a.gguf", 1000, 1);
    enum err err = ERR_NOMEM;
    for (int64_t n = 1; err; n++) {
        mem_fail_at(n);
        err = model_hash_open(path_of("a.gguf"), &h);
        mem_fail_at(0);
        ck_assert(err == ERR_OK || err == ERR_NOMEM);
        if (err) ck_assert_int_eq(mem_live_count(), 0);
    }
    model_hash_free(h);
}
END_TEST

START_TEST(an_identity_tells_files_apart) {
    struct file_identity a, b;
    write_file("a.gguf", 1000, 1);
    write_file("b.gguf", 1000, 1);
    ck_assert_int_eq(file_identity_of(path_of("a.gguf"), &a), ERR_OK);
    ck_assert_int_eq(file_identity_of(path_of("b.gguf"), &b), ERR_OK);
    ck_assert(!file_identity_equal(&a, &b));
    ck_assert_int_eq(symlink(path_of("a.gguf"), path_of("link.gguf")), 0);
    ck_assert_int_eq(file_identity_of(path_of("link.gguf"), &b), ERR_OK);
    ck_assert(file_identity_equal(&a, &b));
    struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 1}, {.tv_sec = 1000, .tv_nsec = 1}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path_of("a.gguf"), times, 0), 0);
    ck_assert_int_eq(file_identity_of(path_of("a.gguf"), &a), ERR_OK);
    ck_assert_int_eq(a.mtime_ns, 1000000000001);
    ck_assert(!file_identity_equal(&a, &b));
}
END_TEST

START_TEST(a_patch_under_the_old_time_is_another_file) { /* touch -r */
    struct file_identity a, b;
    struct stat st;
    write_file("a.gguf", 1000, 1);
    ck_assert_int_eq(file_identity_of(path_of("a.gguf"), &a), ERR_OK);
    ck_assert_int_eq(stat(path_of("a.gguf"), &st), 0);
    usleep(20000); /* a clock of the kernel ticks at 100 Hz or faster */
    int fd = open(path_of("a.gguf"), O_WRONLY);
    ck_assert_int_eq(pwrite(fd, "x", 1, 500), 1);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    ck_assert_int_eq(futimens(fd, times), 0);
    close(fd);
    ck_assert_int_eq(file_identity_of(path_of("a.gguf"), &b), ERR_OK);
    ck_assert_int_eq(a.mtime_ns, b.mtime_ns);
    ck_assert(!file_identity_equal(&a, &b));
}
END_TEST

START_TEST(a_hash_is_that_of_the_files_it_opened) {
    struct file_identity of_path, of_hash;
    struct model_hash *h = NULL;
    for (int parts = 1; parts <= 2; parts++) {
        const char *first = parts == 1 ? "a.gguf" : "s-00001-of-00002.gguf";
        write_file(first, 1000, 1);
        write_file("s-00002-of-00002.gguf", 500, 2);
        ck_assert_int_eq(model_hash_open(path_of(first), &h), ERR_OK);
        ck_assert_int_eq(model_hash_identity(h, &of_hash), ERR_OK);
        ck_assert_int_eq(file_identity_of(path_of(first), &of_path), ERR_OK);
        ck_assert(file_identity_equal(&of_path, &of_hash));
        write_file("other.gguf", 1000, 3);
        char to[256];
        snprintf(to, sizeof to, "%s", path_of(first));
        ck_assert_int_eq(rename(path_of("other.gguf"), to), 0);
        ck_assert_int_eq(file_identity_of(to, &of_path), ERR_OK);
        ck_assert(!file_identity_equal(&of_path, &of_hash));
        model_hash_free(h);
    }
}
END_TEST

static struct model_tag_inputs inputs(void) {
    return (struct model_tag_inputs){.weights = hash128("w", 1),
                                     .architecture = "llama",
                                     .n_layers = 1,
                                     .n_kv_heads = 2,
                                     .head_k = 3,
                                     .head_v = 4,
                                     .window = 5,
                                     .n_window_layers = 6,
                                     .kv = KV_Q8_0,
                                     .flash_attention = true,
                                     .swa_full = false,
                                     .engine = "llama 1",
                                     .format_version = 1,
                                     .repack = false};
}

/* Each field by itself makes another tag, and no two of these are alike. */
START_TEST(every_input_counts) {
    struct model_tag_inputs in[21];
    struct hash128 tags[ARRAY_LEN(in)];
    for (size_t i = 0; i < ARRAY_LEN(in); i++) in[i] = inputs();
    in[1].weights.b[15] ^= 1;
    in[2].architecture = "llama2";
    in[3].n_layers++;
    in[4].n_kv_heads++;
    in[5].head_k++;
    in[6].head_v++;
    in[7].window++;
    in[8].n_window_layers++;
    in[9].kv = KV_Q4_0;
    in[10].flash_attention = false;
    in[11].swa_full = true;
    in[12].engine = "llama 2";
    in[13].format_version++;
    in[14].repack = true;
    in[15].kv = KV_F16;
    in[16].architecture = "llamallama 1"; /* as if the two texts ran together */
    in[16].engine = "";
    in[17].architecture = "";
    in[17].engine = "llamallama 1";
    in[18].n_layers = 256;
    in[19].n_layers = 65536;
    in[20].rope_long = true;
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        tags[i] = model_tag_of(&in[i]);
        ck_assert(!hash128_is_zero(tags[i]));
        for (size_t j = 0; j < i; j++) ck_assert_msg(!hash128_equal(tags[i], tags[j]), "%zu and %zu", i, j);
    }
    struct model_tag_inputs again = inputs();
    ck_assert(hash128_equal(model_tag_of(&again), tags[0]));
}
END_TEST

/* The tag names folders on people's disks: this value may change only together with the number at the list's front. */
START_TEST(the_tag_is_the_same_on_every_machine) {
    struct model_tag_inputs in = inputs();
    char hex[HASH128_HEX_SIZE];
    hash128_hex(model_tag_of(&in), hex);
    ck_assert_str_eq(hex, "666149319c208e92c95401b81552fa88");
}
END_TEST

int main(void) {
    if (!mkdtemp(dir)) return EXIT_FAILURE;
    const TTest *const tests[] = {slices_do_not_matter,
                                  one_byte_makes_another_hash,
                                  every_part_is_read,
                                  a_file_that_changes_meanwhile,
                                  what_can_not_be_read,
                                  an_identity_tells_files_apart,
                                  a_patch_under_the_old_time_is_another_file,
                                  a_hash_is_that_of_the_files_it_opened,
                                  every_input_counts,
                                  the_tag_is_the_same_on_every_machine};
    int status = CHECK_RUN("model_tag", tests);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) == 0 ? status : EXIT_FAILURE;
}
