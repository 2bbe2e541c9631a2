/* store_open - what opening a store costs, and what the store writes and keeps for a byte of KV.
 * usage: store_open DIR [BLOCKS [PART_BYTES]]; DIR is made, filled and left behind. Blocks 10,000, parts 4,096 bytes unless told.
 *   open     with its database, and without one (rebuilt from the files' headers); page cache warm, median of 5
 *   write    full blocks of a real size (SmolLM2 at q8_0), synced as the server does it; then the same as turns of 300 tokens,
 *            which leave tails behind
 * The kernel's counters (/proc/self/io) stand beside the store's own: wchar is what was handed to write(), write_bytes
 * what goes to the device (0 on a file system in memory). */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "store/disk_ops.h"
#include "store/store_map.h"

#define CHAIN_BLOCKS 100
#define TOKEN_BYTES 12240 /* 30 layers * 3 heads * (64 + 64) values * 34/32 */
#define OPENS 5
#define WRITE_BLOCKS 64
#define TURN_TOKENS 300

static const char *dir;
static uint64_t generation; /* counts up from the wall clock, so that a folder can be measured twice */

static enum err no_sync(void *ctx, int fd) {
    (void)ctx, (void)fd;
    return ERR_OK;
}
static enum err no_sync_dir(void *ctx, const char *path) {
    (void)ctx, (void)path;
    return ERR_OK;
}

static struct store *open_store(const struct disk_ops *disk, double *ret_ms) {
    struct store_config c = {.dir = dir,
                             .budget_bytes = UINT64_C(1) << 40,
                             .write_per_day_bytes = UINT64_C(1) << 40,
                             .generation = ++generation,
                             .disk = disk};
    struct store *s = NULL;
    char why[256];
    int64_t began = clock_now_ns();
    enum err err = store_open(&c, &s, why, sizeof why);
    if (ret_ms) *ret_ms = (double)(clock_now_ns() - began) / 1e6;
    if (!err) return s;
    fprintf(stderr, "%s: %s\n", dir, why);
    exit(1);
}

static struct hash128 tag_of(uint32_t which) {
    return hash128(&which, sizeof which);
}

/* Puts the chain's blocks from first on, until n tokens; *ret_written counts up. The end's name. */
static struct block_name put_chain(struct store *s, struct hash128 tag, const char *agent,
                                   const int32_t *tokens, uint32_t n, const uint8_t *part, size_t token_bytes,
                                   uint64_t *ret_written) {
    struct block_name parent = {{{0}}};
    for (uint32_t first = 0; first < n; first += BLOCK_TOKENS) {
        uint32_t count = n - first < BLOCK_TOKENS ? n - first : BLOCK_TOKENS;
        struct store_block b = {.parent = parent,
                                .tag = tag,
                                .model = "model",
                                .agent = agent,
                                .tokens = tokens + first,
                                .n_tokens = count,
                                .first_pos = first,
                                .base = part,
                                .base_size = count * token_bytes};
        uint64_t written = 0;
        must(store_put(s, &b, &written) == ERR_OK);
        *ret_written += written;
        parent = block_name_of(parent, tag, tokens + first, count);
    }
    return parent;
}

static void make_tokens(int32_t *tokens, uint32_t n, uint32_t seed) {
    for (uint32_t i = 0; i < n; i++) tokens[i] = (int32_t)((seed * 7919u + i * 31u) % 49152u);
}

/* ---- open ---- */

static void fill(uint32_t n_blocks, size_t part_bytes) {
    static int32_t tokens[CHAIN_BLOCKS * BLOCK_TOKENS];
    struct disk_ops unsynced = disk_ops_real; /* the fill is not what is measured */
    unsynced.sync = no_sync;
    unsynced.sync_dir = no_sync_dir;
    struct store *s = open_store(&unsynced, NULL);
    AUTO(mem_freep) uint8_t *part = mem_alloc(part_bytes);
    must(part);
    uint64_t written = 0;
    for (uint32_t i = 0; i * CHAIN_BLOCKS < n_blocks; i++) {
        char agent[32];
        snprintf(agent, sizeof agent, "agent-%u", i);
        make_tokens(tokens, CHAIN_BLOCKS * BLOCK_TOKENS, i);
        struct block_name leaf = put_chain(s, tag_of(1), agent, tokens, CHAIN_BLOCKS * BLOCK_TOKENS, part,
                                           part_bytes / BLOCK_TOKENS, &written);
        struct store_note note = {tag_of(1), "model", agent, leaf, .n_tokens = CHAIN_BLOCKS * BLOCK_TOKENS};
        must(store_agent_note(s, &note) == ERR_OK);
    }
    store_free(s);
}

static void remove_database(void) {
    static const char *const names[] = {"index.db", "index.db-wal", "index.db-shm"};
    char path[4096];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
}

static int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure_open(bool with_database) {
    double ms[OPENS], close_ms[OPENS];
    uint64_t blocks = 0;
    for (int i = 0; i < OPENS; i++) {
        if (!with_database) remove_database();
        struct store *s = open_store(NULL, &ms[i]);
        struct buf json = BUF(0);
        must(store_cache_json(s, &json) == ERR_OK);
        const char *at = strstr((const char *)json.data, "\"blocks\":");
        blocks = at ? strtoull(at + 9, NULL, 10) : 0;
        buf_free(&json);
        int64_t began = clock_now_ns();
        store_free(s);
        close_ms[i] = (double)(clock_now_ns() - began) / 1e6;
    }
    qsort(ms, OPENS, sizeof ms[0], compare_double);
    qsort(close_ms, OPENS, sizeof close_ms[0], compare_double);
    printf("open %s database: %llu blocks, %.1f ms (%.1f to %.1f), %.2f us a block, %.0f files/s; close %.1f "
           "ms\n",
           with_database ? "with the" : "without a", (unsigned long long)blocks, ms[OPENS / 2], ms[0],
           ms[OPENS - 1], ms[OPENS / 2] * 1e3 / (double)blocks, (double)blocks / ms[OPENS / 2] * 1e3,
           close_ms[OPENS / 2]);
    fflush(stdout);
}

/* ---- write ---- */

struct io {
    unsigned long long wchar, write_bytes;
};

static struct io read_io(void) {
    struct io io = {0};
    char line[128];
    FILE *f = fopen("/proc/self/io", "r");
    while (f && fgets(line, sizeof line, f)) {
        sscanf(line, "wchar: %llu", &io.wchar);
        sscanf(line, "write_bytes: %llu", &io.write_bytes);
    }
    if (f) fclose(f);
    return io;
}

struct sizes {
    uint64_t files, bytes, disk_bytes;
};

static void add_sizes(const char *path, struct sizes *sum) {
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char child[4096];
        struct stat st;
        if (e->d_name[0] == '.') continue;
        if (snprintf(child, sizeof child, "%s/%s", path, e->d_name) >= (int)sizeof child) continue;
        if (lstat(child, &st) != 0) continue;
        if (S_ISDIR(st.st_mode)) {
            add_sizes(child, sum);
            continue;
        }
        sum->files++;
        sum->bytes += (uint64_t)st.st_size;
        sum->disk_bytes += disk_bytes_of((uint64_t)st.st_size);
    }
    if (d) closedir(d);
}

/* One conversation of WRITE_BLOCKS blocks, in turns of so many tokens. */
static void measure_write(uint32_t which, uint32_t turn_tokens) {
    static int32_t tokens[WRITE_BLOCKS * BLOCK_TOKENS];
    AUTO(mem_freep) uint8_t *part = mem_alloc((size_t)BLOCK_TOKENS * TOKEN_BYTES);
    must(part);
    for (size_t i = 0; i < (size_t)BLOCK_TOKENS * TOKEN_BYTES; i++)
        part[i] = (uint8_t)(i * 2654435761u >> 13);
    uint32_t n = WRITE_BLOCKS * BLOCK_TOKENS;
    make_tokens(tokens, n, 1000 + which);
    struct store *s = open_store(NULL, NULL);
    struct io before = read_io(), after;
    uint64_t written = 0, kv = (uint64_t)n * TOKEN_BYTES;
    int64_t began = clock_now_ns();
    for (uint32_t end = turn_tokens < n ? turn_tokens : n;;
         end = end + turn_tokens < n ? end + turn_tokens : n) {
        struct block_name leaf = put_chain(s, tag_of(which), "ann", tokens, end, part, TOKEN_BYTES, &written);
        struct store_note note = {tag_of(which), "model", "ann", leaf, .n_tokens = end};
        must(store_agent_note(s, &note) == ERR_OK);
        if (end == n) break;
    }
    double seconds = (double)(clock_now_ns() - began) / 1e9;
    store_free(s);
    after = read_io();
    char path[4096], hex[HASH128_HEX_SIZE];
    hash128_hex(tag_of(which), hex);
    snprintf(path, sizeof path, "%s/blocks/%s", dir, hex);
    struct sizes sizes = {0};
    add_sizes(path, &sizes);
    printf("write in turns of %u tokens: %u tokens, %.1f MB of KV at %.0f MB/s; a byte of KV is %.4f bytes "
           "written to block files, "
           "%.4f with the database (wchar), %.4f to the device (write_bytes); kept in %llu files: %.4f (%.4f "
           "of whole pages), %.1f "
           "bytes a token\n",
           turn_tokens, n, (double)kv / 1e6, (double)kv / 1e6 / seconds, (double)written / (double)kv,
           (double)(after.wchar - before.wchar) / (double)kv,
           (double)(after.write_bytes - before.write_bytes) / (double)kv, (unsigned long long)sizes.files,
           (double)sizes.bytes / (double)kv, (double)sizes.disk_bytes / (double)kv,
           (double)sizes.bytes / (double)n);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2) return fputs("usage: store_open DIR [BLOCKS [PART_BYTES]]\n", stderr), 2;
    dir = argv[1];
    log_open(LOG_ERROR, "store_open");
    generation = (uint64_t)clock_wall_ns();
    fill(argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 10000,
         argc > 3 ? strtoul(argv[3], NULL, 10) : 4096);
    printf("memory: %zu bytes a block\n", sizeof(struct store_node) + sizeof(struct store_node *));
    measure_open(true);
    measure_open(false);
    measure_open(true);
    measure_write(2, WRITE_BLOCKS * BLOCK_TOKENS);
    measure_write(3, TURN_TOKENS);
    return 0;
}
