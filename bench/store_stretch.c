/* store_stretch - a stored conversation of many tokens out of its first block, for contexts that nobody has the time to read.
 * usage: store_stretch DIR TAG MODEL AGENT WINDOW < TOKENS
 * DIR is the cache folder of a server that has ended, in which the conversation's first block is stored under TAG (32 hex digits); WINDOW is the
 * model's sliding window in tokens, 0 for none; TOKENS are int32, little-endian, in whole blocks.
 * Every further block gets the first one's parts with its own positions, tokens, name and checksums: in size, number of files, layout and checks
 * it is what the server would have written, and only the KV values are another block's. Window parts are stored where the server stores them while it
 * reads a long prompt (save.h, WINDOW), and the agent's chain is noted.
 * Prints a line for each block: name, and whether its window part is stored (1 or 0; of the first block always 0: no resume here needs it). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "seat/save.h"
#include "store/store.h"

#define TOKENS_MAX (1u << 20)
#define PART_BYTES_MAX (256u << 20)
/* Of a part, as engine_llama_cells.c has it: u32 streams, u32 cells; of each cell i32 position, u32 owners, i32 owner. */
#define PART_CELLS_AT 8
#define PART_CELL_BYTES 12

static NORETURN void die(const char *what, const char *why) {
    fprintf(stderr, "store_stretch: %s: %s\n", what, why);
    exit(1);
}

static void need(enum err err, const char *what, const char *why) {
    if (err) die(what, why && why[0] ? why : err_text(err));
}

/* Positions 0..BLOCK_TOKENS-1, each once, with one owner: else this program does not know what it moves. */
static bool is_first_part(const struct buf *part) {
    bool seen[BLOCK_TOKENS] = {false};
    struct cursor c = cursor_over(part->data, part->size);
    if (cursor_u32(&c) != 1 || cursor_u32(&c) != BLOCK_TOKENS) return false;
    for (uint32_t i = 0; i < BLOCK_TOKENS; i++) {
        uint32_t pos = cursor_u32(&c), n_owners = cursor_u32(&c);
        cursor_u32(&c);
        if (c.error || pos >= BLOCK_TOKENS || seen[pos] || n_owners != 1) return false;
        seen[pos] = true;
    }
    return true;
}

/* To the next block's positions. */
static void move_part(struct buf *part) {
    for (uint32_t i = 0; part->size > 0 && i < BLOCK_TOKENS; i++) {
        uint8_t *at = part->data + PART_CELLS_AT + (size_t)i * PART_CELL_BYTES;
        struct cursor c = cursor_over(at, sizeof(uint32_t));
        uint32_t pos = cursor_u32(&c) + BLOCK_TOKENS;
        for (uint32_t b = 0; b < sizeof pos; b++) at[b] = (uint8_t)(pos >> 8 * b);
    }
}

/* Is block k in the window of the next restore point, or of the end? */
static bool wants_window(uint32_t k, uint32_t n_blocks, uint32_t window) {
    uint32_t point = (k / RESTORE_POINT_BLOCKS + 1) * RESTORE_POINT_BLOCKS;
    if (point > n_blocks) point = n_blocks;
    return (k + 1) * BLOCK_TOKENS + window > point * BLOCK_TOKENS;
}

static void print_block(struct block_name name, bool has_window) {
    char hex[HASH128_HEX_SIZE];
    hash128_hex(name.h, hex);
    printf("%s %d\n", hex, has_window);
}

struct chain {
    struct hash128 tag;
    const char *model, *agent;
    uint32_t window, n_tokens;
    const int32_t *tokens;
};

static void get_first(struct store *s, const struct chain *c, struct buf *base, struct buf *window) {
    struct store_plan plan;
    const char *reason = NULL;
    need(store_plan(s, c->tag, c->tokens, BLOCK_TOKENS + 1, c->window, &plan), "plan", NULL);
    if (plan.n_tokens != BLOCK_TOKENS) die("the first block can't be used", plan.reason);
    need(store_get(s, c->tag, &plan.blocks[0], c->tokens, base, window, &reason), "the first block", reason);
    store_plan_free(&plan);
    if (!is_first_part(base) || (c->window > 0) != (window->size > 0) ||
        (c->window > 0 && !is_first_part(window)))
        die("the first block", "its parts are not laid out as this program knows them");
}

static void stretch(struct store *s, const struct chain *c) {
    struct buf base = BUF(PART_BYTES_MAX), window = BUF(PART_BYTES_MAX);
    get_first(s, c, &base, &window);
    uint32_t n_blocks = c->n_tokens / BLOCK_TOKENS;
    struct block_name name = block_name_of((struct block_name){0}, c->tag, c->tokens, BLOCK_TOKENS);
    print_block(name, false);
    for (uint32_t k = 1; k < n_blocks; k++) {
        bool has_window = c->window > 0 && wants_window(k, n_blocks, c->window);
        const int32_t *tokens = c->tokens + (size_t)k * BLOCK_TOKENS;
        move_part(&base);
        move_part(&window);
        struct store_block b = {.parent = name,
                                .tag = c->tag,
                                .model = c->model,
                                .agent = c->agent,
                                .tokens = tokens,
                                .n_tokens = BLOCK_TOKENS,
                                .first_pos = k * BLOCK_TOKENS,
                                .base = base.data,
                                .base_size = base.size,
                                .window = has_window ? window.data : NULL,
                                .window_size = has_window ? window.size : 0,
                                .window_from = k * BLOCK_TOKENS};
        uint64_t written = 0;
        need(store_put(s, &b, &written), "a block", NULL);
        name = block_name_of(name, c->tag, tokens, BLOCK_TOKENS);
        print_block(name, has_window);
    }
    struct store_note note = {
        .tag = c->tag, .model = c->model, .agent = c->agent, .leaf = name, .n_tokens = c->n_tokens};
    need(store_agent_note(s, &note), "the agent's chain", NULL);
    buf_free(&base);
    buf_free(&window);
}

static int32_t *read_tokens(uint32_t *ret_n) {
    uint8_t *bytes = mem_alloc(TOKENS_MAX * sizeof(int32_t));
    if (!bytes) die("tokens", err_text(ERR_NOMEM));
    size_t n = fread(bytes, sizeof(int32_t), TOKENS_MAX, stdin);
    int32_t *tokens = mem_array(n + 1, sizeof *tokens);
    if (!tokens) die("tokens", err_text(ERR_NOMEM));
    struct cursor c = cursor_over(bytes, n * sizeof(int32_t));
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)cursor_u32(&c);
    mem_free(bytes);
    if (n <= BLOCK_TOKENS || n % BLOCK_TOKENS != 0) die("tokens", "two whole blocks or more, please");
    *ret_n = (uint32_t)n;
    return tokens;
}

int main(int argc, char **argv) {
    struct chain c = {0};
    if (argc != 6 || !hash128_from_hex(argv[2], &c.tag))
        return fputs("usage: store_stretch DIR TAG MODEL AGENT WINDOW < TOKENS\n", stderr), 2;
    c.model = argv[3];
    c.agent = argv[4];
    c.window = (uint32_t)strtoul(argv[5], NULL, 10);
    if (c.window > RESTORE_POINT_BLOCKS * BLOCK_TOKENS) die("window", "restore points lie closer than that");
    log_open(LOG_ERROR, "store_stretch");
    int32_t *tokens = read_tokens(&c.n_tokens);
    c.tokens = tokens;
    char why[512] = "";
    int lock_fd = -1;
    need(store_lock(argv[1], &lock_fd, why, sizeof why), argv[1], why);
    struct store_config config = {.dir = argv[1],
                                  .budget_bytes = UINT64_C(1) << 40,
                                  .write_per_day_bytes = UINT64_C(1) << 40,
                                  .generation = (uint64_t)clock_wall_ns()};
    struct store *s = NULL;
    need(store_open(&config, &s, why, sizeof why), argv[1], why);
    stretch(s, &c);
    store_free(s); /* the lock goes with the process */
    mem_free(tokens);
    return 0;
}
