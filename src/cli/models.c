#include <stdio.h>

#include "cli/cli.h"
#include "cli/table.h"

int cli_models_print(const struct json *answer) {
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

/* With those that can't be loaded, and why. */
static int all_tell(const struct json *answer) {
    AUTO(table_freep) struct table *t = NULL;
    if (table_open("MODEL|STATE|ARCHITECTURE|>PARAMETERS|>FILE|>WAITING|REASON", &t) != ERR_OK)
        return CLI_REFUSED;
    const struct json *models = json_get(answer, "models");
    for (size_t i = 0; i < json_count(models); i++) {
        const struct json *m = json_at(models, i);
        table_cell(t, cli_text(m, "id"));
        table_cell(t, cli_text(m, "state"));
        table_cell(t, cli_text(m, "architecture"));
        table_cell(t, human_count(cli_u64(m, "parameters")));
        table_cell(t, human_bytes(cli_u64(m, "file_bytes")));
        table_cellf(t, "%llu", (unsigned long long)cli_u64(m, "waiting"));
        table_cell(t, cli_text(m, "reason"));
    }
    return cli_print(t);
}

int cli_models(int argc, char **argv) {
    const char *all = NULL;
    struct cli c;
    const struct cli_option own[] = {
        {"--all", NULL, &all, "also those that can't be loaded, with the reason (an admin's question)"},
        CLI_JSON(c)};
    bool help = false;
    int status = cli_open(&c, argc, argv, own, ARRAY_LEN(own), 0, 0, &help);
    const struct cli_request api = {"GET", "/v1/models", NULL, false, false};
    const struct cli_request admin = {"GET", "/admin/models/available", NULL, true, false};
    struct json *answer = NULL;
    if (status == CLI_DONE && !help) status = cli_call(&c, all ? &admin : &api, &answer);
    if (status == CLI_DONE && !help && !c.json) status = all ? all_tell(answer) : cli_models_print(answer);
    json_free(answer);
    cli_close(&c);
    return status;
}
