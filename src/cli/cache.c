#include <stdio.h>

#include "cli/cli.h"
#include "cli/table.h"

static int cache_tell(const struct json *answer) {
    uint64_t hits = cli_u64(answer, "hits"), misses = cli_u64(answer, "misses");
    printf("%s of %s in %llu blocks; %llu hits, %llu misses\n", human_bytes(cli_u64(answer, "bytes")),
           human_bytes(cli_u64(answer, "budget_bytes")), (unsigned long long)cli_u64(answer, "blocks"),
           (unsigned long long)hits, (unsigned long long)misses);
    if (!json_bool(json_get(answer, "on"), true)) {
        const char *why = cli_text(answer, "reason");
        printf("off: %s\n", why ? why : "no reason was given");
    }
    if (json_bool(json_get(answer, "scanning"), false))
        puts("the folder is still being looked through: there may be more, and new blocks wait for the end "
             "of it");
    const struct json *models = json_get(answer, "models");
    if (json_count(models) == 0) return CLI_DONE;
    AUTO(table_freep) struct table *t = NULL;
    if (table_open("MODEL|>BLOCKS|>ON DISK", &t) != ERR_OK) return CLI_REFUSED;
    for (size_t i = 0; i < json_count(models); i++) {
        const struct json *m = json_at(models, i);
        table_cell(t, cli_text(m, "model"));
        table_cellf(t, "%llu", (unsigned long long)cli_u64(m, "blocks"));
        table_cell(t, human_bytes(cli_u64(m, "bytes")));
    }
    putchar('\n');
    return cli_print(t);
}

int cli_cache(int argc, char **argv) {
    struct cli c;
    const struct cli_option own[] = {CLI_JSON(c)};
    bool help = false;
    int status = cli_open(&c, argc, argv, own, ARRAY_LEN(own), 0, 0, &help);
    struct json *answer = NULL;
    if (status == CLI_DONE && !help)
        status = cli_call(&c, &(struct cli_request){"GET", "/admin/cache", NULL, true, false}, &answer);
    if (status == CLI_DONE && !help && !c.json) status = cache_tell(answer);
    json_free(answer);
    cli_close(&c);
    return status;
}
