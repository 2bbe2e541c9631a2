#include <stdio.h>

#include "cli/cli.h"
#include "cli/table.h"

static int models_tell(const struct json *answer) {
    AUTO(table_freep) struct table *t = NULL;
    if (table_open("MODEL|STATE|ARCHITECTURE|>PARAMETERS|>FILE|>CONTEXT|>AGENTS", &t) != ERR_OK)
        return CLI_REFUSED;
    const struct json *data = json_get(answer, "data");
    for (size_t i = 0; i < json_count(data); i++) {
        const struct json *h = json_get(json_at(data, i), "hotseat");
        table_cell(t, cli_text(json_at(data, i), "id"));
        table_cell(t, cli_text(h, "state"));
        table_cell(t, cli_text(h, "architecture"));
        table_cell(t, human_count(cli_u64(h, "parameters")));
        table_cell(t, human_bytes(cli_u64(h, "file_bytes")));
        table_cellf(t, "%llu", (unsigned long long)cli_u64(h, "context"));
        table_cellf(t, "%llu", (unsigned long long)cli_u64(h, "cached_agents"));
    }
    return cli_print(t);
}

int cli_models(int argc, char **argv) {
    struct cli c;
    bool help = false;
    int status = cli_open(&c, argc, argv, NULL, 0, 0, 0, &help);
    struct json *answer = NULL;
    if (status == CLI_DONE && !help)
        status = cli_call(&c, &(struct cli_request){"GET", "/v1/models", NULL, false, false}, &answer);
    if (status == CLI_DONE && !help && !c.json) status = models_tell(answer);
    json_free(answer);
    cli_close(&c);
    return status;
}
