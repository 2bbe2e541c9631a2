#include "base/proc_mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check_run.h"

#define MB (UINT64_C(1) << 20)
#define SIZE (64 * MB)
#ifdef __SANITIZE_THREAD__ /* it writes about every byte that is touched */
#define SHADOW (4 * SIZE)
#else
#define SHADOW 0
#endif

static char dir[] = "/tmp/proc_mem_XXXXXX";

START_TEST(the_machine) {
    ck_assert_uint_gt(proc_mem_total_bytes(), 16 * MB);
    ck_assert_uint_le(proc_mem_available_bytes(), proc_mem_total_bytes());
    ck_assert_uint_gt(proc_mem_cgroup_limit_bytes(), MB);
}
END_TEST

#if defined(__linux__) && !defined(HOTSEAT_PORTABLE)

static void write_file(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fputs(text, f) >= 0, 1);
    fclose(f);
}

static void make_dir(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

START_TEST(written_memory_counts_and_file_pages_do_not) {
    char path[256];
    snprintf(path, sizeof path, "%s/mapped", dir);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(ftruncate(fd, (off_t)SIZE), 0);
    uint64_t before = proc_mem_private_bytes();
    ck_assert_uint_gt(before, 0);
    volatile char *file = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    for (size_t i = 0; i < SIZE; i += 4096) (void)file[i];
    ck_assert_uint_lt(proc_mem_private_bytes(), before + 8 * MB + SHADOW);
    for (size_t i = 0; i < SIZE / 2; i += 4096) file[i] = 1; /* a copy of our own */
    uint64_t copied = proc_mem_private_bytes();
    ck_assert_uint_gt(copied, before + SIZE / 2 - 4 * MB);
    ck_assert_uint_lt(copied, before + SIZE / 2 + 8 * MB + SHADOW);
    munmap((void *)(uintptr_t)file, SIZE);
    volatile char *heap = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < SIZE; i += 4096) heap[i] = 1;
    uint64_t exact = proc_mem_private_bytes(), about = proc_mem_private_bytes_about();
    ck_assert_uint_gt(exact, before + SIZE - 4 * MB);
    ck_assert_uint_gt(about, exact - exact / 8);
    ck_assert_uint_lt(about, exact + exact / 8);
    munmap((void *)(uintptr_t)heap, SIZE);
    ck_assert_uint_lt(proc_mem_private_bytes(), before + 8 * MB);
    close(fd);
}
END_TEST

START_TEST(mappings_of_a_file_are_found_also_when_it_is_gone) {
    char path[256], link[256];
    snprintf(path, sizeof path, "%s/a model.gguf", dir);
    snprintf(link, sizeof link, "%s/link.gguf", dir);
    write_file("a model.gguf", "some bytes");
    ck_assert_int_eq(symlink(path, link), 0);
    int fd = open(path, O_RDONLY);
    ck_assert_uint_eq(proc_mem_mappings_of(path), 0);
    void *one = mmap(NULL, 10, PROT_READ, MAP_PRIVATE, fd, 0),
         *two = mmap(NULL, 10, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_uint_eq(proc_mem_mappings_of(path), 2);
    ck_assert_uint_eq(proc_mem_mappings_of(link), 2);
    munmap(one, 10);
    ck_assert_uint_eq(proc_mem_mappings_of(path), 1);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_uint_eq(proc_mem_mappings_of(path), 1);
    write_file("a model.gguf", "another file of this name");
    ck_assert_uint_eq(proc_mem_mappings_of(path), 1);
    munmap(two, 10);
    ck_assert_uint_eq(proc_mem_mappings_of(path), 0);
    ck_assert_uint_eq(proc_mem_mappings_of("/no/such/file"), 0);
    close(fd);
}
END_TEST

static uint64_t limit_at(const char *groups) {
    char file[256];
    write_file("groups", groups);
    snprintf(file, sizeof file, "%s/groups", dir);
    return proc_mem_cgroup_limit_at(file, dir);
}

static uint64_t room_at(const char *groups) {
    char file[256];
    write_file("groups", groups);
    snprintf(file, sizeof file, "%s/groups", dir);
    return proc_mem_cgroup_room_at(file, dir);
}

START_TEST(the_smallest_limit_on_the_way_up) {
    make_dir("user");
    make_dir("user/app");
    ck_assert_uint_eq(limit_at("0::/user/app\n"), PROC_MEM_NO_LIMIT);
    write_file("user/app/memory.max", "max\n");
    ck_assert_uint_eq(limit_at("0::/user/app\n"), PROC_MEM_NO_LIMIT);
    write_file("user/memory.max", "5000000\n");
    ck_assert_uint_eq(limit_at("0::/user/app\n"), 5000000);
    write_file("user/app/memory.max", "4000000\n");
    ck_assert_uint_eq(limit_at("0::/user/app\n"), 4000000);
    ck_assert_uint_eq(limit_at("0::/user\n"), 5000000);
    ck_assert_uint_eq(limit_at("0::/\n"), PROC_MEM_NO_LIMIT);
    write_file("memory.max", "3000000\n");
    ck_assert_uint_eq(limit_at("0::/not/visible/here\n"), 3000000);
    ck_assert_uint_eq(limit_at("garbage"), PROC_MEM_NO_LIMIT);
    ck_assert_uint_eq(limit_at(""), PROC_MEM_NO_LIMIT);
    ck_assert_uint_eq(proc_mem_cgroup_limit_at("/no/such/file", dir), PROC_MEM_NO_LIMIT);
}
END_TEST

START_TEST(version_1_too) {
    write_file("memory.max", "max\n");
    make_dir("memory");
    make_dir("memory/box");
    write_file("memory/memory.limit_in_bytes", "9223372036854771712\n");
    ck_assert_uint_eq(limit_at("5:cpu:/\n4:memory:/box\n0::/\n"), PROC_MEM_NO_LIMIT);
    write_file("memory/box/memory.limit_in_bytes", "7000000\n");
    ck_assert_uint_eq(limit_at("5:cpu:/\n4:memory:/box\n0::/\n"), 7000000);
    ck_assert_uint_eq(limit_at("4:cpu,memory:/box\n"), 7000000);
    ck_assert_uint_eq(limit_at("4:memoryish:/box\n"), PROC_MEM_NO_LIMIT);
    write_file("memory/box/memory.usage_in_bytes", "5000000\n");
    ck_assert_uint_eq(room_at("4:cpu,memory:/box\n"), 2000000);
}
END_TEST

START_TEST(room_is_what_the_fullest_group_leaves) {
    make_dir("full");
    make_dir("full/app");
    write_file("full/app/memory.max", "9000000\n");
    ck_assert_uint_eq(room_at("0::/full/app\n"), 9000000);
    write_file("full/app/memory.current", "8000000\n");
    ck_assert_uint_eq(room_at("0::/full/app\n"), 1000000);
    write_file("full/app/memory.stat", "anon 1\ninactive_file 2000000\nactive_file 1000000\n");
    ck_assert_uint_eq(room_at("0::/full/app\n"), 4000000);
    write_file("full/memory.max", "3000000\n");
    write_file("full/memory.current", "3500000\n");
    ck_assert_uint_eq(room_at("0::/full/app\n"), 0);
    ck_assert_uint_eq(room_at("0::/elsewhere\n"), PROC_MEM_NO_LIMIT);
}
END_TEST

#else

/* The twin that knows only what POSIX says must not claim more. */
START_TEST(the_neutral_twin_says_that_it_does_not_know) {
    ck_assert_uint_eq(proc_mem_mappings_of("/"), 0);
    ck_assert_uint_eq(proc_mem_cgroup_limit_at("/no/such/file", "/"), PROC_MEM_NO_LIMIT);
}
END_TEST

#endif

int main(void) {
    if (!mkdtemp(dir)) return EXIT_FAILURE;
#if defined(__linux__) && !defined(HOTSEAT_PORTABLE)
    const TTest *const tests[] = {the_machine,
                                  written_memory_counts_and_file_pages_do_not,
                                  mappings_of_a_file_are_found_also_when_it_is_gone,
                                  the_smallest_limit_on_the_way_up,
                                  version_1_too,
                                  room_is_what_the_fullest_group_leaves};
#else
    const TTest *const tests[] = {the_machine, the_neutral_twin_says_that_it_does_not_know};
#endif
    int status = CHECK_RUN("proc_mem", tests);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) == 0 ? status : EXIT_FAILURE;
}
