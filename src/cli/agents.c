#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/http_client.h"
#include "cli/table.h"

int cli_agents_print(const struct json *agents) {
    AUTO(table_freep) struct table *t = NULL;
    if (table_open("AGENT|MODEL|>TOKENS|>BLOCKS|>ON DISK|LAST USED|RESIDENT|SAVED|PINNED", &t) != ERR_OK)
        return CLI_REFUSED;
    for (size_t i = 0; i < json_count(agents); i++) {
        const struct json *a = json_at(agents, i);
        uint64_t used = cli_u64(a, "last_used");
        table_cell(t, cli_text(a, "id"));
        table_cell(t, cli_text(a, "model"));
        table_cellf(t, "%llu", (unsigned long long)cli_u64(a, "tokens"));
        table_cellf(t, "%llu", (unsigned long long)cli_u64(a, "blocks"));
        table_cell(t, human_bytes(cli_u64(a, "bytes")));
        table_cell(t, used ? human_ago((int64_t)time(NULL) - (int64_t)used) : NULL);
        table_cell(t, json_bool(json_get(a, "resident"), false) ? "yes" : "no");
        table_cell(t, json_bool(json_get(a, "saved"), true) ? "yes" : "no");
        table_cell(t, json_bool(json_get(a, "pinned"), false) ? "yes" : "no");
    }
    return cli_print(t);
}

static void agent_tell(const char *action, const char *id, const struct json *answer) {
    if (strcmp(action, "rm") == 0)
        printf("%s: %llu caches deleted, %llu files, %s\n", id,
               (unsigned long long)cli_u64(answer, "deleted"), (unsigned long long)cli_u64(answer, "files"),
               human_bytes(cli_u64(answer, "bytes")));
    else
        printf("%s is %sned\n", id, action);
}

/* The path of an agent's action; the caller's. */
static char *agent_path(const char *action, const char *id, const char *model) {
    AUTO(mem_freep) char *part = http_client_escape(id);
    AUTO(mem_freep) char *query = model ? http_client_escape(model) : NULL;
    if (!part || (model && !query)) return NULL;
    bool rm = strcmp(action, "rm") == 0;
    return mem_printf("/admin/agents/%s%s%s%s%s", part, rm ? "" : "/", rm ? "" : action,
                      query ? "?model=" : "", query ? query : "");
}

static int agents_list(const struct cli *c, const char *model) {
    AUTO(mem_freep) char *query = model ? http_client_escape(model) : NULL;
    AUTO(mem_freep) char *path = mem_printf("/admin/agents%s%s", query ? "?model=" : "", query ? query : "");
    struct json *answer = NULL;
    if (!path) return CLI_REFUSED;
    int status = cli_call(c, &(struct cli_request){"GET", path, NULL, true, false}, &answer);
    if (status == CLI_DONE && !c->json) status = cli_agents_print(json_get(answer, "agents"));
    json_free(answer);
    return status;
}

static int agents_act(const struct cli *c, const char *model) {
    const char *action = c->words[0], *id = c->words[1];
    if (strcmp(action, "rm") != 0 && strcmp(action, "pin") != 0 && strcmp(action, "unpin") != 0)
        return cli_usage(c->verb, "an agent can be rm, pin or unpin, not '%s'", action);
    if (!id) return cli_usage(c->verb, "%s needs an agent's id", action);
    AUTO(mem_freep) char *path = agent_path(action, id, model);
    struct json *answer = NULL;
    if (!path) return CLI_REFUSED;
    const char *method = strcmp(action, "rm") == 0 ? "DELETE" : "POST";
    int status = cli_call(c, &(struct cli_request){method, path, NULL, true, false}, &answer);
    if (status == CLI_DONE && !c->json) agent_tell(action, id, answer);
    json_free(answer);
    return status;
}

int cli_agents(int argc, char **argv) {
    const char *model = NULL;
    struct cli c;
    const struct cli_option own[] = {{"--model", "MODEL", &model, "only its caches of this model"},
                                     CLI_JSON(c)};
    bool help = false;
    int status = cli_open(&c, argc, argv, own, ARRAY_LEN(own), 0, 2, &help);
    if (status == CLI_DONE && !help) status = c.n_words ? agents_act(&c, model) : agents_list(&c, model);
    cli_close(&c);
    return status;
}
